"""What measures a critic: data with labelled steps, and how well flags agree with the labels."""
