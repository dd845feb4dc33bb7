"""The Flower ServerApp: carries the run named in the run configuration to its end."""

from functools import partial

from flwr.app import Context
from flwr.serverapp import Grid, ServerApp
from flwr.superlink.grid import http_grid

from coordinator.flower.grid import QuickGrid
from coordinator.flower.strategy import RoundStrategy, by_node_key
from coordinator.wiring_rounds import open_rounds
from shared.config import home_folder
from shared.errors import StoreWeaveError
from shared.wire.names import QUICK_PULLS, RUN_CONFIG_RUN_ID

app = ServerApp()


@app.main()
def main(grid: Grid, context: Context) -> None:
    """Run or resume; the home is that of the process, never one that a message names."""
    http_grid.pull_objects = partial(http_grid.pull_objects, **QUICK_PULLS)
    run_id = str(context.run_config[RUN_CONFIG_RUN_ID])
    with open_rounds(home_folder()) as rounds:
        service = rounds.service
        service.plan(run_id)
        try:
            with rounds.alone():
                service.log(run_id, "run.started", flower_run=str(context.run_id))
                strategy = RoundStrategy(service, run_id, by_node_key(rounds.node_keys()))
                done = strategy.execute(QuickGrid(grid))
            if done:
                service.log(run_id, "run.finished")
            else:
                service.log(run_id, "run.stopped", code="refused", reason="a store refused")
        except StoreWeaveError as error:
            service.log(run_id, "run.stopped", code=error.code, reason=str(error))
        except Exception as error:
            service.log(run_id, "run.stopped", code="failure", reason=type(error).__name__)
            raise
