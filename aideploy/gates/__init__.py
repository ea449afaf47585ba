"""What judges a release before it takes traffic: rules without side effects, and who asks."""
