"""diffusers' linear multistep scheduler, without the package scipy that it asks for."""

from __future__ import annotations

import numpy
from diffusers.schedulers.scheduling_lms_discrete import LMSDiscreteScheduler


class LmsScheduler(LMSDiscreteScheduler):
    """The same steps. diffusers integrates by scipy's general method what is a polynomial."""

    def get_lms_coefficient(self, order: int, t: int, current_order: int) -> float:
        """The integral over a step of the Lagrange polynomial that is 1 at one of the last `order` noise levels.

        Gauss and Legendre's rule with n points is exact up to degree 2n - 1; the degree here is order - 1.
        """
        levels = numpy.asarray(self.sigmas, dtype=numpy.float64)
        begin, end = levels[t], levels[t + 1]
        points, weights = numpy.polynomial.legendre.leggauss(order)
        places = begin + (end - begin) * (points + 1) / 2
        others = [levels[t - other] for other in range(order) if other != current_order]
        own = levels[t - current_order]
        values = numpy.prod([(places - other) / (own - other) for other in others], axis=0)
        return float((weights * values).sum() * (end - begin) / 2)
