"""When the office is open."""


def is_open(day):
    return day != "sunday"
