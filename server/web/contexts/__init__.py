"""What each page shows, ready to print: made from domain objects, free of HTML, one file a page."""
