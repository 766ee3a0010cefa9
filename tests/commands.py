"""The command line as its users call it."""

import json

from vdpa_lab.cli import main


def run(capsys, *arguments):
    """Exit status, standard output and standard error."""
    status = main(arguments)
    out, err = capsys.readouterr()
    return status, out, err


def document(capsys, *arguments):
    """The JSON document, beside which nothing is said."""
    status, out, err = run(capsys, *arguments, "--json")
    assert (status, err) == (0, "")
    return json.loads(out)


def refused(capsys, *arguments):
    """The one message about bad input."""
    status, out, err = run(capsys, *arguments)
    assert (status, out) == (2, "")
    assert err.startswith("vdpa-lab: ")
    assert err.count("\n") == 1
    return err
