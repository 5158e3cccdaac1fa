"""``python -m rasa_ft``."""

from rasa_ft.cli.main import main

main()
