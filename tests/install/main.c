#include <dlbridge.h>

int main(void) {
    float samples[6] = {0};
    int64_t shape[] = {2, 3};
    DLTensor description = {samples, {kDLCPU, 0}, 2, {kDLFloat, 32, 1}, shape, NULL, 0};
    dlb_tensor *mine = NULL, *theirs = NULL;
    DLManagedTensorVersioned *handed = NULL;
    if (dlb_tensor_wrap(&description, 0, NULL, NULL, &mine) || dlb_tensor_export(mine, &handed)) return 1;
    if (handed->dl_tensor.data != samples || dlb_tensor_import(handed, &theirs)) return 2;
    if (dlb_tensor_view(theirs)->data != samples) return 3;
    dlb_tensor_release(theirs);
    dlb_tensor_release(mine);
    return dlb_live_tensors() || dlb_live_exports() ? 4 : 0;
}
