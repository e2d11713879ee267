import pytest
import torch
from torch.autograd import gradcheck

from lt_core.losses import ExpertDiversity, expert_diversity, expert_temperatures


def draw(rows=6, experts=3, classes=5, dtype=torch.float64):
    return 2 * torch.randn(rows, experts, classes, generator=torch.Generator().manual_seed(0), dtype=dtype)


def test_value_is_that_of_the_docstring():
    z, temperatures = draw(), torch.tensor([1.0, 0.9, 0.8, 0.7, 0.6], dtype=torch.float64)
    expected = []
    for row in z:
        p, q = (row.mean(0) / temperatures).softmax(0), (row / temperatures).softmax(1)
        expected.append(0.8**2 * sum(float((p * (p / one).log()).sum()) for one in q))
    value = expert_diversity(z, temperatures, "none")
    assert value.tolist() == pytest.approx(expected, rel=1e-12)
    assert float(expert_diversity(z, temperatures)) == pytest.approx(sum(expected) / 6, rel=1e-12)
    assert float(expert_diversity(z, temperatures, "sum")) == pytest.approx(sum(expected), rel=1e-12)


def test_the_mean_needs_no_gradient():
    """The gradient on expert k is softmax(z_k) - softmax(mean) at temperature 1, over N, and that is all there is."""
    z = draw().requires_grad_()
    expert_diversity(z).backward()
    p = z.detach().mean(1, keepdim=True).softmax(2)
    torch.testing.assert_close(z.grad, (z.detach().softmax(2) - p) / 6)
    temperatures = torch.tensor([1.0, 0.9, 0.8, 0.7, 0.6], dtype=torch.float64)
    assert gradcheck(lambda x: expert_diversity(x, temperatures), (draw().requires_grad_(),))


def test_it_is_zero_exactly_where_experts_agree():
    assert float(expert_diversity(draw()[:, :1].expand(-1, 3, -1))) == pytest.approx(0.0, abs=1e-14)
    assert float(expert_diversity(draw())) > 0.1
    shifted = draw() + torch.tensor([0.0, 5.0, -3.0], dtype=torch.float64)[:, None]  # softmax does not see this
    torch.testing.assert_close(expert_diversity(shifted), expert_diversity(draw()))


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_module_is_function_and_half_precision_is_widened(reduction, dtype):
    z = draw(dtype=torch.float64).to(dtype)
    module = ExpertDiversity(5, reduction)
    module.temperatures.copy_(expert_temperatures([500, 90, 20, 7, 3]))
    value = module(z)
    assert value.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    assert value.shape == ((6,) if reduction == "none" else ())
    torch.testing.assert_close(value, expert_diversity(z, expert_temperatures([500, 90, 20, 7, 3]), reduction))


def test_extreme_logits_have_finite_values_and_gradients():
    z = (1e4 * draw(dtype=torch.float32).sign()).requires_grad_()
    expert_diversity(z, torch.full((5,), 0.8)).backward()
    assert torch.isfinite(z.grad).all()


def test_bad_input_is_refused():
    for match, logits, options in (
        ("logits has shape", draw()[0], {}),
        ("logits holds NaN", torch.full((1, 2, 3), float("nan")), {}),
        ("temperatures has shape", draw(), {"temperatures": torch.ones(4)}),
        ("temperatures holds 0", draw(), {"temperatures": torch.zeros(5)}),
        ("reduction is 'median'", draw(), {"reduction": "median"}),
    ):
        with pytest.raises(ValueError, match=match):
            expert_diversity(logits, **options)
    with pytest.raises(TypeError, match=r"logits is torch\.int64"):
        expert_diversity(torch.ones(1, 2, 3, dtype=torch.int64))
    with pytest.raises(ValueError, match="factor is 1"):
        expert_temperatures([5, 3], 1.0)


def test_temperatures_are_one_for_the_largest_class():
    for counts in ([500, 90, 20], [20, 90, 500]):
        raw = [0.05 * 3 * n / sum(counts) + 0.95 for n in counts]
        assert expert_temperatures(counts, 0.05, torch.float64).tolist() == pytest.approx([r / max(raw) for r in raw])
    assert expert_temperatures([500, 5], 0.0).tolist() == [1.0, 1.0]
