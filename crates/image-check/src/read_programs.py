"""Reads supervisord.conf and files of programs with supervisord's own parser, and prints what it makes of each section.

stdin: {"environment": {NAME: VALUE}, "configuration": PATH, "files": [PATH]}; stdout: {"configuration": {"error", "includes",
"sockets", "is_public", "has_interface", "uid", "log_directory"} or null, "files": [{"file", "error", "repeated": {"section",
"option", "line"}, "sections": [{"header", "error", "environment", "programs": [{"name", "words", "error", "directory"}]}]}]}. A
section is parsed alone, so that each error has its place. "configuration" is null if the file is not one of the files.
"""
import configparser
import io
import json
import os
import platform
import shlex
import socket
import sys

from supervisor import options

PROGRAM_KINDS = ("program:", "eventlistener:", "fcgi-program:", "group:")


def parser_of(server):
    parser = options.UnhosedConfigParser()
    parser.expansions = server.environ_expansions
    return parser


def copy(parser, mini, section):
    mini.add_section(section)
    for name, value in parser.items(section):
        mini.set(section, name, value)


def message(why):
    return str(why) or type(why).__name__


def program(config):
    try:
        words, error = shlex.split(config.command), None
    except ValueError as why:
        words, error = [], str(why)
    return {"name": config.name, "words": words, "error": error, "directory": config.directory}


def section_of(server, parser, section, everything):
    mini = parser_of(server)
    copy(parser, mini, section)
    if section.startswith("group:") and mini.has_option(section, "programs"):
        for member in mini.get(section, "programs").split(","):
            member = "program:" + member.strip()
            for other in everything:
                if other.has_section(member) and not mini.has_section(member):
                    copy(other, mini, member)
    found = {"header": section, "error": None, "environment": "", "programs": []}
    if mini.has_option(section, "environment"):
        found["environment"] = mini.get(section, "environment")
    try:
        groups = server.process_groups_from_parser(mini)
        found["programs"] = [program(config) for group in groups for config in group.process_configs]
    except Exception as why:
        found["error"] = message(why)
    return found


def repeated(path):
    """The first section or option that the file has twice: supervisord itself takes the options of both."""
    try:
        options.UnhosedConfigParser(strict=True).read(path)
    except (configparser.DuplicateSectionError, configparser.DuplicateOptionError) as why:
        return {"section": why.section, "option": getattr(why, "option", None), "line": why.lineno}
    except Exception:
        # Reported by the other parser.
        pass
    return None


def configuration_of(server, parser):
    """What supervisord makes of its configuration, without the files that it includes and its programs."""
    found = {"error": None, "includes": [], "sockets": [], "is_public": False, "has_interface": False, "uid": 0,
             "log_directory": ""}
    mini = parser_of(server)
    for section in parser.sections():
        if section != "include" and not section.startswith(PROGRAM_KINDS):
            copy(parser, mini, section)
    text = io.StringIO()
    mini.write(text)
    text.seek(0)
    try:
        if parser.has_section("include"):
            expansions = {"here": server.here, "host_node_name": platform.node(), **server.environ_expansions}
            patterns = options.expand(parser.get("include", "files"), expansions, "include.files")
            found["includes"] = [os.path.join(server.here, pattern) for pattern in patterns.split()]
        daemon = server.read_config(text)
        servers = daemon.server_configs
        found["sockets"] = [config["file"] for config in servers if config["family"] is socket.AF_UNIX]
        found["is_public"] = any(config["family"] is socket.AF_INET for config in servers)
        found["has_interface"] = any(factory[0] == "supervisor" for factory in daemon.rpcinterface_factories)
        found["uid"] = options.name_to_uid(daemon.user) if daemon.user else 0
        found["log_directory"] = daemon.childlogdir
    except Exception as why:
        found["error"] = message(why)
    return found


def main():
    given = json.load(sys.stdin)
    server = options.ServerOptions()
    server.here = os.path.dirname(given["configuration"])
    server.environ_expansions = {"ENV_" + name: value for name, value in given["environment"].items()}
    parsers, errors = {}, {}
    for path in given["files"]:
        parser = parser_of(server)
        try:
            parser.read(path)
            parser.expand_here(os.path.dirname(path))
        except Exception as why:
            errors[path] = message(why)
        parsers[path] = parser
    found = []
    for path, parser in parsers.items():
        sections = [] if path in errors else [
            section_of(server, parser, section, parsers.values()) for section in parser.sections()]
        found.append({"file": path, "error": errors.get(path), "repeated": repeated(path), "sections": sections})
    parser = parsers.get(given["configuration"])
    configuration = configuration_of(server, parser) if parser and given["configuration"] not in errors else None
    json.dump({"configuration": configuration, "files": found}, sys.stdout)


main()
