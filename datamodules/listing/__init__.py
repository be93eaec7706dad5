"""What a folder, an archive or a tree of videos holds: one listing for all readers of files."""
