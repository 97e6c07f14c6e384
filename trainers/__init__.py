"""What learns: methods over TRL, credit, critics, backbones."""
