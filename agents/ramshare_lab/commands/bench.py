"""`ramshare bench`: measure parts on this machine."""

import typer

from ramshare_lab.experiments.bus.command import bus
from ramshare_lab.experiments.memory.command import memory
from ramshare_lab.experiments.monitor.command import monitor
from ramshare_lab.experiments.moves.command import moves
from ramshare_lab.experiments.places.command import modes, targets
from ramshare_lab.experiments.reclaim.command import reclaim
from ramshare_lab.experiments.surplus.command import surplus

app = typer.Typer(no_args_is_help=True, help="Measure parts of the system, or memory and swap as the paper does.")

app.command(epilog="Example: ramshare bench memory --size 1G --block 1K --seconds 5 --json")(memory)
app.command(epilog="Example: ramshare bench bus --rounds 1000")(bus)
app.command(epilog="Example: ramshare bench reclaim --rounds 10 --mode mirror")(reclaim)
app.command(epilog="Example: ramshare bench moves --rounds 3")(moves)
app.command(epilog="Example: ramshare bench modes --place move --place nbd")(modes)
app.command(epilog="Example: ramshare bench targets --seconds 20")(targets)
app.command(epilog="Example: ramshare bench surplus --rounds 6")(surplus)
app.command(epilog="Example: ramshare bench monitor --seconds 300 --interval 5")(monitor)
