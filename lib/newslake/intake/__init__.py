"""What people bring becomes rows: neutral parts here, a folder for each kind of source in sources/."""
