"""The subcommands of `curation`, each group with its arguments; `curation_assets.cli` joins them."""
