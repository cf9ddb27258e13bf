"""Bond Smoothness Characterization Test (Liu et al., arXiv:2602.04861): scans, predictions, scores, pictures."""
