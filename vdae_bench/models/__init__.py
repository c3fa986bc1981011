"""The models, laid out as the paper is: layers, networks, flows, priors, likelihoods, posteriors, methods.

Every parameter and every batch carries a leading replica axis R: R models of one architecture (the seeds of a
cell) train together in batched matrix products. Shapes in the docstrings: R replicas, N images, K samples an
image (or columns of a Jacobian), n data dimensions, m latent dimensions.
"""
