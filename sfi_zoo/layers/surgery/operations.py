"""Torch functions by what they do to the axis of time: names, as `probe` has them."""


def _names(text: str) -> frozenset[str]:
    plain = text.split()
    in_place = [name + "_" for name in plain]
    operators = [f"__{prefix}{name}__" for name in plain for prefix in ("", "r", "i")]
    return frozenset([*plain, *in_place, *operators])


# no samples of the signal are in what they give
CREATE = _names(
    """zeros ones empty full zeros_like ones_like empty_like full_like rand_like randn_like rand randn randint arange linspace
    new_zeros new_ones new_empty new_full new_tensor tensor as_tensor eye hann_window hamming_window kaiser_window blackman_window
    bartlett_window from_numpy normal uniform bernoulli zero fill device dtype is_cuda layout requires_grad grad grad_fn _base"""
)
# they move samples, or leave them as they are
MOVE = _names(
    """view reshape unsqueeze squeeze transpose permute movedim moveaxis swapaxes swapdims flatten unflatten contiguous clone detach to
    float double half bfloat16 type type_as cpu cuda expand expand_as repeat tile cat concat concatenate stack chunk split unbind select
    narrow getitem setitem copy T mT H mH adjoint t pad alias data view_as reshape_as broadcast_to broadcast_tensors index_select gather
    real imag view_as_real view_as_complex complex resolve_conj resolve_neg rearrange dropout atleast_1d atleast_2d atleast_3d
    hstack vstack dstack column_stack identity flip fliplr set_ get swapaxes masked_fill requires_grad_ retain_grad"""
)
RESHAPES = _names("view reshape flatten unflatten view_as reshape_as _unsafe_view")
LIKE_ANOTHER = _names("to type_as view_as reshape_as expand_as")
# linear in the signal, at every instant for itself
LINEAR = _names(
    """add sub neg mul div truediv multiply divide subtract true_divide rsub negative positive sum mean nansum batch_norm lerp addcmul
    addcdiv conj nan_to_num radd"""
)
DIVISIONS = frozenset(
    ["div", "divide", "true_divide", "floor_divide", "__div__", "__truediv__", "__floordiv__"]
)
PRODUCTS = _names("mul div truediv multiply divide true_divide addcmul addcdiv")
NONLINEAR = _names(
    """relu relu6 leaky_relu prelu elu selu celu gelu silu mish hardtanh hardswish hardsigmoid softplus softsign tanhshrink softshrink
    hardshrink threshold tanh sigmoid logsigmoid glu softmax log_softmax softmin clamp clamp_min clamp_max clip abs absolute sign sgn
    pow square sqrt rsqrt exp expm1 log log1p log10 log2 sin cos tan atan arctan atan2 erf where maximum minimum max min amax amin fmax
    fmin floor ceil round trunc frac fmod remainder reciprocal norm angle polar sinh cosh asinh arctan2 layer_norm group_norm
    instance_norm normalize rms_norm fake_quantize_per_tensor_affine logaddexp hypot heaviside cumprod var std"""
)
AVERAGES = _names(
    "mean var std var_mean std_mean nanmean layer_norm group_norm adaptive_avg_pool1d adaptive_avg_pool2d"
)
REDUCTIONS = _names(
    """sum nansum norm vector_norm linalg_vector_norm linalg_norm amax amin max min prod logsumexp median nanmedian quantile nanquantile
    argmax argmin aminmax adaptive_max_pool1d adaptive_max_pool2d dot vdot inner bmm matmul mm einsum tensordot baddbmm addmm
    cosine_similarity mse_loss l1_loss"""
)
# they give places, which are counted in samples
PLACES = _names(
    "argmax argmin argsort nonzero count_nonzero searchsorted bucketize histc bincount topk sort msort"
)
# they ask a question, or take a number out
QUERIES = _names("any all isnan isinf isfinite allclose equal item tolist numpy is_nonzero bool len")
MIX_LAST = _names(
    "linear matmul mm bmm einsum addmm baddbmm tensordot scaled_dot_product_attention multi_head_attention_forward"
)
MATRIX = MIX_LAST | _names("conv2d conv3d conv_transpose2d conv_transpose3d")
SHIFTS = {
    name: why
    for names, why in {
        "cumsum cummax cummin logcumsumexp": "it adds up over samples",
        "diff": "it takes differences of neighbouring samples",
        "roll": "it moves by whole samples",
        "lstm gru rnn_tanh rnn_relu lfilter _lfilter": "it is recursive over samples",
        "avg_pool1d max_pool1d lp_pool1d avg_pool2d max_pool2d max_pool1d_with_indices": "it pools neighbouring samples",
        "sort topk": "it orders samples",
    }.items()
    for name in [*names.split(), *(n + "_" for n in names.split())]
}
BOUNDARIES = {
    name: why
    for names, why in {
        "unfold as_strided": "it makes frames of a fixed number of samples",
        "fold": "it adds up frames that are a fixed number of samples apart",
        "view reshape unflatten flatten": "it turns samples into pieces of a fixed number of them, or back",
        "avg_pool1d max_pool1d lp_pool1d adaptive_avg_pool1d adaptive_max_pool1d avg_pool2d max_pool2d adaptive_avg_pool2d "
        "adaptive_max_pool2d max_pool1d_with_indices": "it pools a fixed number of samples",
        "conv2d conv3d conv_transpose2d conv_transpose3d": "only one-dimensional convolutions and transforms are converted",
        "interpolate upsample": "it changes the number of samples by a factor",
        "fft_rfft fft_fft rfft fft fft_irfft fft_ifft irfft ifft fft_rfft2": "it transforms a whole signal, or frames cut by hand",
        "pad constant_pad_nd": "it pads to a fixed number of samples",
        "__getitem__ narrow split chunk select index_select": "it takes every n-th sample, or pieces of a fixed number of samples",
        "__setitem__ index_add index_add_ index_copy_ scatter_add_": "it puts frames together by hand, in samples",
        "pixel_shuffle repeat_interleave": "it makes a fixed number of samples of each frame",
    }.items()
    for name in names.split()
}
