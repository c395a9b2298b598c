"""The batch-norm epsilon of torchvision's first models, of which the tensors say nothing."""

_COCO_V1 = (
    "batch-norm epsilon 0, with which torchvision runs its COCO_V1; {others} need "
    "--set model.backbone.norm_epsilon=1e-5"
)
_BUILT = (
    "batch-norm epsilon 1e-5, with which torchvision builds; weights trained from its COCO_V1, which it runs with 0, "
    "need --set model.backbone.norm_epsilon=0"
)


def epsilon_of_coco_v1(
    is_coco: bool, is_published: bool, others: str = "weights of another training on COCO"
) -> tuple[dict[str, float], tuple[str, ...]]:
    """Settings of the batch-norm epsilon that a ResNet-50 without normed pyramid runs with, and what to tell about it.

    torchvision builds these models with 1e-5 and sets 0 where it loads the COCO_V1 weights of three of them.

    Args:
        is_coco: whether the predictors have the rows of COCO's classes.
        is_published: whether the file's name has the digits of torchvision's COCO_V1: nothing is left to tell.
        others: files with the same tensors that run with 1e-5.
    """
    if not is_coco:
        return {}, (_BUILT,)
    return {"model.backbone.norm_epsilon": 0.0}, () if is_published else (_COCO_V1.format(others=others),)
