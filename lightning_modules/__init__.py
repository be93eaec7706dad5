"""Everything that needs a gradient: the classifier, the joint objective, and the methods that say what trains when."""
