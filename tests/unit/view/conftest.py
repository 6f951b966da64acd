"""An app to look at."""


import pytest
from attrs import evolve

from runnel.operations.overview import Overview, Server
from runnel.operations.status import ProcessorStatus, Status, WorkerStatus
from runnel.view.model import Model
from tests.unit.view.made import partition, report


@pytest.fixture
def model() -> Model:
    processor = ProcessorStatus(
        processor="bill",
        stream="orders",
        partitions=(partition(0), partition(1, parked=4), partition(2, stopped="EventFailed: no"), partition(3, owner=None)),
    )
    worker = WorkerStatus(worker="w1", host="host", pid=7, processors=("bill",), left=3.0, leads=True)
    other = evolve(worker, worker="w2", leads=False)
    status = Status(app="shop", server="redis://x", workers=(worker, other), processors=(processor,))
    overview = Overview(
        status=status,
        server=Server(name="Valkey", version="9.1", memory=2**20),
        reports={"w1": report("w1")},
        ages={"w1": 0.5},
    )
    made = Model()
    made.update(overview, 100.0)
    return made
