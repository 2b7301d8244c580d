"""What a comparison can decide, before it is run: power from the variances of pilot runs."""
