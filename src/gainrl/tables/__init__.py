"""An experiment's table and figures; tests of models as they are."""
