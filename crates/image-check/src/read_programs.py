"""Reads files of programs with supervisord's own parser, and prints what it makes of each section.

stdin: {"environment": {NAME: VALUE}, "files": [PATH]}; stdout: [{"file", "error", "sections": [{"header", "error",
"environment", "programs": [{"name", "words", "error"}]}]}]. A section is parsed alone, so that each error has its place.
"""
import json
import os
import shlex
import sys

from supervisor import options


def parser_of(server):
    parser = options.UnhosedConfigParser()
    parser.expansions = server.environ_expansions
    return parser


def copy(parser, mini, section):
    mini.add_section(section)
    for name, value in parser.items(section):
        mini.set(section, name, value)


def program(config):
    try:
        words, error = shlex.split(config.command), None
    except ValueError as why:
        words, error = [], str(why)
    return {"name": config.name, "words": words, "error": error}


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
        found["error"] = str(why) or type(why).__name__
    return found


def main():
    given = json.load(sys.stdin)
    server = options.ServerOptions()
    server.here = "/etc/supervisor"
    server.environ_expansions = {"ENV_" + name: value for name, value in given["environment"].items()}
    parsers, errors = {}, {}
    for path in given["files"]:
        parser = parser_of(server)
        try:
            parser.read(path)
            parser.expand_here(os.path.dirname(path))
        except Exception as why:
            errors[path] = str(why) or type(why).__name__
        parsers[path] = parser
    found = []
    for path, parser in parsers.items():
        sections = [] if path in errors else [
            section_of(server, parser, section, parsers.values()) for section in parser.sections()]
        found.append({"file": path, "error": errors.get(path), "sections": sections})
    json.dump(found, sys.stdout)


main()
