"""A real tracking server, killed in the middle of a real training."""

import pytest

from teststrip.testing.track_process import TrackProcess
from teststrip.track.connection import Connection
from teststrip.track.outbox import outage
from teststrip.track.runs import search_all
from teststrip.track.training import RUN
from teststrip.train.run import start
from teststrip.wire import outbox

pytest.importorskip("mlflow")
pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]
LOOKED_AT = {"prompts": ["a red circle"], "seeds": [0, 1], "recipe": {"steps": 1}}


def counted(home, name):
    """All that the server holds of a run, less what is another each time: ids and speeds."""
    connection = Connection(home)
    client = connection.client
    (run,) = search_all(connection, {RUN: name})
    points = sorted(
        (m.key, m.step, m.value if "loss" in m.key else 0)
        for key in run.data.metrics
        for m in client.get_metric_history(run.info.run_id, key)
    )
    files, folders = [], [None]
    while folders:
        for entry in client.list_artifacts(run.info.run_id, folders.pop()):
            (folders if entry.is_dir else files).append(entry.path)
    data = [used.dataset.digest for used in run.inputs.dataset_inputs]
    return run.info.status, points, sorted(files), data


@pytest.mark.parametrize("away", [(1, 3), (2, 99)], ids=["on the way", "to the end"])
def test_a_training_goes_on_and_its_record_is_whole(tmp_path, config, monkeypatch, caplog, away):
    home = tmp_path / "client"
    monkeypatch.setattr(outage, "FIRST_S", 0.0)
    monkeypatch.setattr(outage, "REST", 0)
    monkeypatch.setattr("teststrip.train.measure.recording.EVERY_S", 0.0)
    with TrackProcess(tmp_path / "server") as server:
        for name, value in server.client_env.items():
            monkeypatch.setenv(name, value)
        asked = [0]

        def train(name, *, kill):
            def each_step():
                asked[0] += 1
                if kill and asked[0] == away[0]:
                    server.kill()
                if kill and asked[0] == away[1]:
                    server.start()
                return False

            settings = config(name=name, validation=LOOKED_AT)
            return start(settings, home, device="cpu", should_stop=each_step)

        train("calm", kill=False)
        steps, asked[0] = asked[0], 0
        assert steps >= 4
        away = (steps - 4 + away[0], steps - 4 + away[1])
        assert train("hit", kill=True).state == "finished"
        if away[1] > steps:
            assert "track outbox --deliver" in caplog.text
            server.start()
            ((kind, name, _),) = outbox.deliver(home).delivered
            assert (kind, name) == ("training", "hit")

        assert outbox.waiting(home).waiting == ()
        assert counted(home, "hit") == counted(home, "calm")
    assert caplog.text.count("goes on without its record") == 1
