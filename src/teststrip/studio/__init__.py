"""The web app: look at images by condition, compare, rate, and see the evidence.

app         create_app(parts): pages, static files, errors as pages       parts  what it is made of
security    who may ask: bind, password, CSRF, headers                    pages  templates and links
index/      one DuckDB table of images per study, rebuilt from Parquet or MLflow
pictures/   originals and thumbnails
home wall compare findings rate live playground runs                      a page each
"""
