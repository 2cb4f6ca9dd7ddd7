"""Dropout masks are a function of who, when and where."""

import numpy as np
import torch
from torch import nn

from fedray.client.dropout import ClientDropouts, KeyedDropout, MaskStreams, key_dropout


def test_a_client_has_its_masks_in_whatever_company_and_batch() -> None:
    together = MaskStreams(1, 3, np.array([7, 2, 9])).masks(4).draw(1, 0.3, (10, 6))
    assert torch.equal(MaskStreams(1, 3, 2).masks(4).draw(1, 0.3, (10, 6))[0], together[1])
    assert torch.equal(MaskStreams(1, 3, np.array([7, 2, 9])).masks(4, first=2).draw(1, 0.3, (10, 6))[0], together[2])
    assert torch.equal(MaskStreams(1, 3, 2).masks(4).draw(1, 0.3, (3, 6))[0], together[1, :3])


def test_masks_differ_by_seed_round_client_step_and_layer() -> None:
    def mask(seed: int, round: int, client: int, step: int, layer: int) -> tuple[float, ...]:
        return tuple(MaskStreams(seed, round, client).masks(step).draw(layer, 0.5, (64,))[0].tolist())

    places = [(1, 1, 1, 0, 0), (2, 1, 1, 0, 0), (1, 2, 1, 0, 0), (1, 1, 2, 0, 0), (1, 1, 1, 1, 0), (1, 1, 1, 0, 1)]
    assert len({mask(*place) for place in places}) == len(places)


def test_masks_keep_the_mean_and_drop_the_part() -> None:
    mask = MaskStreams(1, 1, np.arange(50)).masks(0).draw(0, 0.2, (40, 100))
    assert set(mask.unique().tolist()) == {0.0, 1.25}
    assert abs(float((mask == 0).double().mean()) - 0.2) < 5 * (0.2 * 0.8 / mask.numel()) ** 0.5
    assert not MaskStreams(1, 1, 1).masks(0).draw(0, 1.0, (9,)).any()


def test_layers_are_replaced_wherever_they_are_and_names_stay() -> None:
    shared = nn.Dropout(0.5)
    cells = nn.LSTM(3, 4, 2, dropout=0.5, batch_first=True)
    module = nn.ModuleDict({"a": nn.Sequential(shared, nn.Linear(3, 3), nn.Dropout2d(0.1)), "b": shared, "c": cells})
    names = [name for name, _ in module.named_parameters()]
    key_dropout(module, ClientDropouts())
    assert [name for name, _ in module.named_parameters()] == names
    assert module["a"][0] is module["b"]
    assert isinstance(module["a"][2], KeyedDropout)


def test_recurrent_layers_with_dropout_between_equal_torchs_own_in_evaluation() -> None:
    for kind in (nn.LSTM, nn.GRU):
        torch.manual_seed(0)
        cells = kind(3, 4, 2, dropout=0.5, bidirectional=True)
        x = torch.randn(6, 5, 3)
        expected, last = cells.eval()(x)
        module = nn.Sequential(cells)
        key_dropout(module, ClientDropouts())
        found, found_last = module.eval()(x)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(found_last, last)
        assert not torch.allclose(module.train()(x)[0], expected)


def test_whole_channels_are_dropped() -> None:
    module = nn.Sequential(nn.Dropout1d(0.5))
    dropouts = ClientDropouts()
    key_dropout(module, dropouts)
    dropouts.begin(1, 1, 1)
    dropouts.step(0)
    dropped = module.train()(torch.ones(8, 6, 5))
    assert bool(((dropped == 0).all(dim=2) | (dropped == 2).all(dim=2)).all())
    assert 0 < float((dropped == 0).double().mean()) < 1
