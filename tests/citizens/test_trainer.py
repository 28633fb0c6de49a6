"""transformers' Trainer and Accelerate around our classifier."""

import numpy as np
import pytest
import torch
from accelerate import Accelerator, cpu_offload
from transformers import Trainer, TrainingArguments

from convnext.pt import ConvNextForImageClassification
from tests.citizens import networks
from tests.pt import tiny

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")


def trainer(folder, model, **arguments) -> Trainer:
    given = TrainingArguments(
        str(folder),
        report_to=[],
        use_cpu=True,
        remove_unused_columns=False,
        per_device_train_batch_size=4,
        save_strategy="steps",
        save_steps=2,
        disable_tqdm=True,
        **{"max_steps": 4, **arguments},
    )
    data = networks.samples()
    return Trainer(model, given, train_dataset=data, eval_dataset=data)


def test_it_trains_evaluates_predicts_and_resumes(tmp_path):
    model = networks.ours()
    run = trainer(tmp_path, model, gradient_checkpointing=True)
    assert np.isfinite(run.train().training_loss)
    assert np.isfinite(run.evaluate()["eval_loss"])
    predictions = run.predict(networks.samples()).predictions
    assert predictions.shape == (8, 3)
    expected = model.eval()(torch.stack([s["pixel_values"] for s in networks.samples()])).logits
    assert np.abs(predictions - expected.detach().numpy()).max() < 1e-5
    again = trainer(tmp_path, networks.ours(), max_steps=6)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-4"))
    assert again.state.global_step == 6
    read = ConvNextForImageClassification.from_pretrained(
        tmp_path / "checkpoint-4", config=model.config
    )
    assert tiny.same_state(read, model)


def test_plain_tuples_are_predicted_without_labels(tmp_path):
    images = [{"pixel_values": s["pixel_values"]} for s in networks.samples()]
    run = trainer(tmp_path, networks.ours(return_dict=False))
    assert run.predict(images).predictions.shape == (8, 3)


def test_accelerates_way_of_saving(tmp_path):
    accelerator = Accelerator(cpu=True)
    model = accelerator.prepare(networks.ours())
    accelerator.unwrap_model(model).save_pretrained(
        tmp_path,
        is_main_process=accelerator.is_main_process,
        save_function=accelerator.save,
        state_dict=accelerator.get_state_dict(model),
    )
    again = ConvNextForImageClassification.from_pretrained(tmp_path)
    assert tiny.same_state(again, networks.ours())


def test_an_offloaded_model_runs_and_is_saved(tmp_path):
    model = networks.ours()
    expected = model(tiny.images()).logits
    cpu_offload(model, execution_device=torch.device("cpu"))
    with torch.no_grad():
        assert networks.error(model(tiny.images()).logits, expected) < 5e-6
    model.save_pretrained(tmp_path)
    again = ConvNextForImageClassification.from_pretrained(tmp_path)
    assert tiny.same_state(again, networks.ours())
