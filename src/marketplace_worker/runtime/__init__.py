"""What the steps share, and what runs them."""
