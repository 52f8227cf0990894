"""What a run keeps on disk: its workdir, checkpoints, seals; published weights."""
