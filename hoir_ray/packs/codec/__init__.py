"""The format of a .hoir file: a header, whole steps coded by their differences with adaptive models, a checksum."""
