"""A report: models are found, judged and measured, and a page is written."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from console import InputError, say
from deploy.machine import cores, processor, versions
from deploy.options import ReportOptions
from deploy.report_data import find_models, groups_of, judge, measure_speed, searches
from deploy.report_page import page
from files import check_new_file, write_atomically


def report(options: ReportOptions) -> Path:
    """Writes a page on the models in and below some folders.

    Returns:
        The page.

    Raises:
        InputError: a folder is missing or damaged, or holds no model.
    """
    check_new_file(options.output_file, "--output_file")
    if options.input_file and not Path(options.input_file).is_file():
        raise InputError(f"--input_file {options.input_file}: no such file")
    environment = {
        "date": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "processor": f"{processor()}, {cores()} cores",
        **versions(),
    }
    models, searched = find_models(options.run), searches(options.run)
    groups = groups_of(models, options)
    judge(groups, options)
    measure_speed(groups, options)
    write_atomically(options.output_file, page(models, groups, searched, environment))
    say(f"report on {len(models)} model(s): {options.output_file}")
    return Path(options.output_file)
