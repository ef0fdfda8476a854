"""Options that several of the commands have."""

import click

as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON, with paths and digests.")
for_a_gpu = click.option(
    "--fp16",
    is_flag=True,
    help="Build NAME-fp16 of a language model too: the one variant that runs on a GPU.",
)
