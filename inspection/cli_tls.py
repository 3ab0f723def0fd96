"""``station tls``: the certificate of the pages, to be compared with what a browser warns of, and to be made anew."""

from __future__ import annotations

from datetime import UTC, datetime

import typer

from inspection import config as configuration
from inspection.cli_options import OPERATOR, ByOption, ConfigOption, audited, command, run_or_explain
from inspection.config import Config
from inspection.errors import ConfigError

app = typer.Typer(help="The certificate with which the pages are served.", no_args_is_help=True)


@app.command()
def show(config: ConfigOption) -> None:
    """Print the fingerprint that a browser must show, and until when and for which names the certificate is valid."""

    def action() -> None:
        loaded = configuration.load(config)
        _print(loaded)

    run_or_explain(action)


@app.command()
def renew(config: ConfigOption, by: ByOption = OPERATOR) -> None:
    """Make another key and certificate, as after a change of the machine's name or address; browsers warn once more."""
    from inspection.tls import generate, generated_path

    def action() -> None:
        loaded = configuration.load(config)
        if loaded.web.tls != "generated":
            raise ConfigError('the station makes its certificate only with tls = "generated" in [web]')
        with audited(loaded, command(by, "tls renew", "certificate of the pages")):
            generate(generated_path(loaded), loaded.station.name, loaded.web.host)
        _print(loaded)
        typer.echo("it is served within a minute")

    run_or_explain(action)


def _print(config: Config) -> None:
    from inspection.tls import certificate_of, names_of_this_machine

    certificate = certificate_of(config)
    if certificate is None:
        raise ConfigError('pages are served without encryption; set tls = "generated" or tls = "files" in [web]')
    typer.echo(f"certificate  {certificate.path.with_suffix('.crt') if certificate.generated else certificate.path}")
    typer.echo(f"SHA-256      {certificate.fingerprint}")
    over = certificate.not_after < datetime.now(UTC)
    typer.echo(f"valid until  {certificate.not_after:%F}{', which is over' if over else f', {certificate.days_left} days'}")
    typer.echo(f"made out to  {', '.join(certificate.names)}")
    missing = set(names_of_this_machine(config.web.host)) - set(certificate.names)
    if certificate.generated and missing:
        typer.echo(f"not made out to {', '.join(sorted(missing))}: `station tls renew` if the pages are asked for by it")
