"""The `understudy` command: every command, from whatever room it comes."""

import typer

from cli.auth import auth_command
from cli.building import open_store, own_spawn, watch
from cli.ca import ca_command
from cli.check import again, check, fixture, reassemble, retranslate
from cli.config import config
from cli.convert import add_convert_command
from cli.demo.command import demo
from cli.doctor.command import add_doctor_command
from cli.env import env
from cli.group import Commands
from cli.keys import keys_command
from cli.load import load_for, settings_of
from cli.models import models
from cli.rehearsal import rehearsal
from cli.run import run
from cli.serve import serve
from cli.show import NUMBERS, diff, show
from cli.tables import print_table
from cli.version import understudy

app = typer.Typer(
    cls=Commands,
    context_settings={"help_option_names": ["-h", "--help"]},
    rich_markup_mode="markdown",
    # A traceback with the values of variables in it could show a secret.
    pretty_exceptions_show_locals=False,
)

app.callback(invoke_without_command=True)(understudy)
# The first word that is no option begins the program's own words; `--` may stand before it.
app.command(context_settings={"allow_interspersed_args": False})(run)
app.command(context_settings=NUMBERS)(show)  # -1 is an exchange's number, no option
for command in (serve, env, demo, config, models, rehearsal, diff, retranslate, reassemble, again, check, fixture):
    app.command()(command)
add_doctor_command(app, load_for, watch)
add_convert_command(app)
app.add_typer(keys_command(open_store, print_table), name="keys")
app.add_typer(auth_command(settings_of, own_spawn), name="auth")
app.add_typer(ca_command(settings_of), name="ca")
