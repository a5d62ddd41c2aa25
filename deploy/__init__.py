"""Commands on finished models: export, predict, benchmark."""
