"""Records out, records back. MLflow is the record; calling twice records nothing twice.

connection   which store: MLFLOW_TRACKING_URI, or sqlite under the home folder
names        what is called how in the store, and its limits
mlflow       MlflowTracker: study -> parent run, recipe -> child run, images -> artifacts
reader       runs -> table and pictures, so that a study can be rebuilt from the record alone
votes        files of a run that grow after it ended: people's votes and marks
ratings      what people said of pictures in production, by version; share, rated_table
rest         one request to a server, one clear answer; doctor, users: who looks after one
"""
