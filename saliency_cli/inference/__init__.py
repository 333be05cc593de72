"""From frames to saliency maps: choice of device and precision, and the predictor."""
