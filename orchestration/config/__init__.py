"""What was asked? Keys, types, checked points, published rows."""
