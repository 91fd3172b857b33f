def test_doctor_reports_versions_device_models_and_folders(run):
    answer = run("doctor", "--json")

    found = {row["name"]: row["found"] for row in answer.json["checks"]}
    assert answer.code == (0 if answer.json["ok"] else 1)
    assert "torch" in found["extra engine"]
    assert "threads" in found["device"]
    assert "GB free" in found["disk"]
    assert "made when needed" in found["home"]


def test_a_missing_device_is_amiss_and_the_rest_is_still_told(run, monkeypatch):
    monkeypatch.setenv("TESTSTRIP_DEVICE", "cuda:99")
    answer = run("doctor")

    assert answer.code == 1
    assert "AMISS  device" in answer.out
    assert "ok     home" in answer.out


def test_a_password_in_the_tracking_address_is_not_shown(run, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://ann:hunter2@records.example/mlflow")
    answer = run("doctor")

    assert "hunter2" not in answer.out
    assert "records.example" in answer.out


def test_a_home_that_may_not_be_written_to_is_amiss(run, monkeypatch):
    monkeypatch.setenv("TESTSTRIP_HOME", "/proc/teststrip")
    answer = run("doctor")

    assert answer.code == 1
    assert "AMISS  home" in answer.out
