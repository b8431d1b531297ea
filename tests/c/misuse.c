/* Programs that are wrong, one per argument. Each must be caught: this is how we know that AddressSanitizer and
 * valgrind see into the library's own memory, and that a green run of the other tests means something. */
#include "sample.h"

static float buffer[6];

static int release_twice(dlb_tensor *tensor) {
    dlb_tensor_release(tensor);
    dlb_tensor_release(tensor);
    return 0;
}

static int ask_after_release(dlb_tensor *tensor) {
    dlb_tensor_release(tensor);
    return (int)dlb_tensor_size(tensor);
}

static int read_view_after_release(dlb_tensor *tensor) {
    const DLTensor *view = dlb_tensor_view(tensor);
    dlb_tensor_release(tensor);
    return view->ndim;
}

static int delete_export_twice(dlb_tensor *tensor) {
    DLManagedTensorVersioned *export = NULL;
    MUST(dlb_tensor_export(tensor, &export) == DLB_OK);
    void (*deleter)(DLManagedTensorVersioned *) = export->deleter;
    dlb_tensor_release(tensor);
    deleter(export);
    deleter(export);
    return 0;
}

static int read_beyond_the_shape(dlb_tensor *tensor) {
    DLManagedTensorVersioned *export = NULL;
    MUST(dlb_tensor_export(tensor, &export) == DLB_OK);
    int64_t beyond = export->dl_tensor.shape[2 * export->dl_tensor.ndim]; /* strides follow it, then nothing */
    export->deleter(export), dlb_tensor_release(tensor);
    return (int)beyond;
}

static int forget_to_release(dlb_tensor *tensor) { return tensor == NULL; }

static const struct {
    const char *name;
    int (*run)(dlb_tensor *);
} WAYS[] = {
    {"release_twice", release_twice},
    {"ask_after_release", ask_after_release},
    {"read_view_after_release", read_view_after_release},
    {"delete_export_twice", delete_export_twice},
    {"read_beyond_the_shape", read_beyond_the_shape},
    {"forget_to_release", forget_to_release},
};

int main(int argc, char **argv) {
    for (size_t i = 0; i < COUNT(WAYS); i++) {
        if (argc == 2 && strcmp(argv[1], WAYS[i].name) == 0) {
            sample from;
            SAMPLE(&from, buffer, 2, 3);
            int result = WAYS[i].run(sample_tensor(&from));
            printf("%s went unseen (%d)\n", argv[1], result);
            return 0;
        }
        if (argc == 1) {
            puts(WAYS[i].name);
        }
    }
    return argc == 1 ? 0 : 2;
}
