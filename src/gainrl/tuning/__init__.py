"""What methods try before they are compared: the choice of a setting, and the table of them."""
