"""Templates in, configuration text out.

Every configuration file that aideploy writes anywhere is rendered here, on the controller, from
`templates/`. A file of the same name in the user's own `templates/` folder beside hosts.toml wins.
Values reach a format only through the filter of that format, which escapes what it can and refuses
what the format cannot hold; in HTML all of them are escaped. This module writes no file and knows
no settings.
"""

from __future__ import annotations

import json
import shlex
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from aideploy.errors import SettingsError
from aideploy.report.markdown import code, number
from aideploy.report.safe_text import harmless
from aideploy.services.environment import environment_file


def render(
    template: str,
    values: Mapping[str, Any],
    *,
    folder: Path | None = None,
    filters: Mapping[str, Callable[[Any], object]] | None = None,
) -> str:
    """Return the text of a configuration file.

    Args:
        template: its path below `templates/`, such as "systemd/service.j2".
        values: the variables of the template. `managed` is added: the line that says where the
            file comes from.
        folder: the folder of hosts.toml; its `templates/` folder wins over the packaged one. None
            where there is no such folder to ask.
        filters: more of them, which only this template needs.

    Raises:
        SettingsError: the template cannot be read or rendered; names it, and the line.
    """
    managed = f"managed by aideploy from templates/{template}; changes will be overwritten"
    own = [folder / "templates"] if folder else []
    places = (*own, _packaged())
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(places),
        # Every other format has a filter of its own.
        autoescape=jinja2.select_autoescape(("html.j2",), default=False),
        finalize=_harmless if template.endswith(".html.j2") else None,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters.update(
        unit=unit,
        unit_word=unit_word,
        sudoers_user=sudoers_user,
        supervisor=supervisor,
        shell=shell,
        percent=percent,
        ssh_word=ssh_word,
        haproxy=haproxy,
        toml=toml,
        provisioned=provisioned,
        environment=environment_file,
        markdown=code,
        number=number,
        **(filters or {}),
    )
    try:
        return environment.get_template(template).render(values, managed=managed)
    except SettingsError:
        raise
    except jinja2.TemplateSyntaxError as error:
        raise _broken(f"{error.name or template}:{error.lineno}", error) from error
    except Exception as error:  # a template is a program of the user: it can raise anything
        raise _broken(_place(error, template, places), error) from error


def _harmless(value: object) -> object:
    """Make one line of text harmless for who reads it; HTML itself is escaped after this."""
    return harmless(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _packaged() -> Path:
    """Return the folder with our own templates: in the wheel, else at the top of the checkout."""
    package = Path(__file__).parent
    inside = package / "templates"
    return inside if inside.is_dir() else package.parent / "templates"


def _place(error: Exception, template: str, places: tuple[Path, ...]) -> str:
    """Return template:line of the innermost template that the error came through."""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.name in ("top-level template code", "macro") or frame.name.startswith("block "):
            file = Path(frame.filename)
            names = (file.relative_to(place) for place in places if file.is_relative_to(place))
            return f"{next(names, file.name)}:{frame.lineno}"
    return template


def _broken(place: str, error: Exception) -> SettingsError:
    return SettingsError(
        "a template cannot be rendered",
        problems=(f"templates/{place}: {error}",),
        next_step="correct it, or remove your own copy of it to use the one of aideploy",
    )


# -- the filters, one per format -------------------------------------------------------------------


def unit(value: object) -> str:
    """Escape a value that stands alone in a systemd unit (systemd.unit(5): specifiers)."""
    return _one_line(value, "a systemd unit").replace("%", "%%")


def unit_word(value: object) -> str:
    """Quote one word of a list or of a command line in a systemd unit (systemd.syntax(7))."""
    text = unit(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{text}"'


def sudoers_user(value: object) -> str:
    """Quote the name of a user for sudoers(5), where bare capitals would name an alias."""
    text = _one_line(value, "sudoers")
    if not text or text[0] in "%+#!" or '"' in text or text.endswith("\\"):
        raise SettingsError(f"the user {text!r} cannot be named in sudoers")
    return f'"{text}"'


def supervisor(value: object) -> str:
    """Escape a path or a name for supervisord's configuration.

    Its parser expands `%`, splits commands as a shell does and begins comments at a space.
    """
    text = _one_line(value, "the configuration of supervisor")
    plain = text.replace("%", "")
    if shlex.quote(plain) != plain:
        raise SettingsError(f"{text!r} cannot stand in the configuration of supervisor")
    return text.replace("%", "%%")


def percent(value: object) -> str:
    """Escape a value that stands alone where `%` begins an expansion (supervisord's own table)."""
    return _one_line(value, "the configuration of supervisor").replace("%", "%%")


def ssh_word(value: object) -> str:
    """Quote one argument of ssh_config(5), in which `%` begins a token."""
    return '"' + _one_line(value, "ssh_config").replace("%", "%%") + '"'


def haproxy(value: object) -> str:
    """Quote one word of HAProxy's configuration, where single quotes end all meaning."""
    text = _one_line(value, "the configuration of HAProxy")
    if "'" in text:
        raise SettingsError(f"{text!r} cannot stand in the configuration of HAProxy")
    return f"'{text}'"


def toml(value: object) -> str:
    """Write a text, a number or a list of them: what JSON writes for these is TOML too."""
    return json.dumps(value, ensure_ascii=False, default=str)


def provisioned(value: object) -> str:
    """Quote a text for Grafana's provisioning files: YAML, in which `$` begins a variable."""
    return json.dumps(str(value)).replace("$", "$$")


def shell(value: object) -> str:
    """Quote one word for a POSIX shell."""
    return shlex.quote(str(value))


def _one_line(value: object, where: str) -> str:
    text = str(value)
    if not text.isprintable():
        raise SettingsError(f"{text!r} cannot stand in {where}: it is not one line of plain text")
    return text
