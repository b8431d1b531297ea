/* dlb_dtype_name, dlb_dtype_parse. */
#include "sample.h"

static const struct {
    const char *name;
    uint8_t code, bits;
    uint16_t lanes;
} KNOWN[] = {
    {"int8", INT, 8, 1},
    {"int4", INT, 4, 1},
    {"int64", INT, 64, 1},
    {"uint1", UINT, 1, 1},
    {"uint8", UINT, 8, 1},
    {"uint16x3", UINT, 16, 3},
    {"float16", FLOAT, 16, 1},
    {"float32", FLOAT, 32, 1},
    {"float32x4", FLOAT, 32, 4},
    {"float64x65535", FLOAT, 64, 65535},
    {"opaque64", OPAQUE, 64, 1},
    {"bfloat16", BFLOAT, 16, 1},
    {"complex64", COMPLEX, 64, 1},
    {"complex128", COMPLEX, 128, 1},
    {"bool", BOOL, 8, 1},
    {"boolx2", BOOL, 8, 2},
    {"float8_e3m4", 7, 8, 1},
    {"float8_e4m3", 8, 8, 1},
    {"float8_e4m3b11fnuz", 9, 8, 1},
    {"float8_e4m3fn", 10, 8, 1},
    {"float8_e4m3fnuz", 11, 8, 1},
    {"float8_e5m2", 12, 8, 1},
    {"float8_e5m2fnuz", 13, 8, 1},
    {"float8_e8m0fnu", 14, 8, 1},
    {"float6_e2m3fn", 15, 6, 1},
    {"float6_e3m2fn", 16, 6, 1},
    {"float4_e2m1fn", 17, 4, 1},
    {"float4_e2m1fnx2", 17, 4, 2},
};

static void names_go_both_ways(void) {
    for (size_t i = 0; i < COUNT(KNOWN); i++) {
        DLDataType parsed = dtype_of(255, 255, 255);
        char name[32];
        CHECK_OK(dlb_dtype_parse(KNOWN[i].name, &parsed));
        CHECK_EQUAL(parsed.code, KNOWN[i].code);
        CHECK_EQUAL(parsed.bits, KNOWN[i].bits);
        CHECK_EQUAL(parsed.lanes, KNOWN[i].lanes);
        CHECK_EQUAL(dlb_dtype_name(parsed, name, sizeof name), strlen(KNOWN[i].name));
        CHECK_TEXT(name, KNOWN[i].name);
    }
}

static void what_has_no_name_is_spelled_out(void) {
    static const struct {
        uint8_t code, bits;
        uint16_t lanes;
        const char *name;
    } nameless[] = {
        {UNKNOWN_CODE, 8, 1, "dtype(code=42, bits=8, lanes=1)"},
        {BOOL, 1, 1, "dtype(code=6, bits=1, lanes=1)"},
        {FLOAT, 0, 0, "dtype(code=2, bits=0, lanes=0)"},
        {255, 255, 65535, "dtype(code=255, bits=255, lanes=65535)"},
    };
    for (size_t i = 0; i < COUNT(nameless); i++) {
        char name[64];
        dlb_dtype_name(dtype_of(nameless[i].code, nameless[i].bits, nameless[i].lanes), name, sizeof name);
        CHECK_TEXT(name, nameless[i].name);
    }
}

/* All 2^16 pairs of code and bits: whatever has a name of its own parses back, and fits 32 bytes. */
static void every_dtype_can_be_named(void) {
    static const uint16_t lanes[] = {0, 1, 2, 65535};
    for (unsigned pair = 0; pair < 4 * 65536; pair++) {
        DLDataType dtype = dtype_of((uint8_t)pair, (uint8_t)(pair >> 8), lanes[pair >> 16]);
        DLDataType parsed = dtype_of(0, 0, 0);
        char name[64];
        size_t length = dlb_dtype_name(dtype, name, sizeof name);
        if (length != strlen(name) || length == 0) {
            check_failed(__FILE__, __LINE__, "length %zu of \"%s\"", length, name);
        } else if (strncmp(name, "dtype(", 6) != 0) {
            CHECK(length < 32);
            CHECK_OK(dlb_dtype_parse(name, &parsed));
            CHECK(memcmp(&parsed, &dtype, sizeof dtype) == 0);
        }
    }
}

static void a_name_is_cut_as_snprintf_cuts(void) {
    for (size_t capacity = 0; capacity < 10; capacity++) {
        char expected[16] = "................", name[16] = "................";
        int length = snprintf(expected, capacity, "%s", "float32");
        CHECK_EQUAL(dlb_dtype_name(dtype_of(FLOAT, 32, 1), name, capacity), length);
        CHECK(memcmp(name, expected, sizeof name) == 0);
    }
    CHECK_EQUAL(dlb_dtype_name(dtype_of(FLOAT, 32, 1), NULL, 0), 7);
}

static void what_is_no_dtype_is_refused(void) {
    static const char *const names[] = {"",        "f",         "float",     "float7",     "float32 ", " float32",
                                        "Float32", "float32x",  "float32x0", "float32x-1", "bool8",    "int9",
                                        "int+8",   "float32x65536", "x4",    "int18446744073709551624",
                                        "dtype(code=2, bits=32, lanes=1)"};
    for (size_t i = 0; i < COUNT(names); i++) {
        DLDataType untouched = dtype_of(1, 2, 3);
        CHECK_FAILS(dlb_dtype_parse(names[i], &untouched), DLB_ERROR_INVALID_ARGUMENT, names[i]);
        CHECK_EQUAL(untouched.code, 1);
        CHECK_EQUAL(untouched.bits, 2);
        CHECK_EQUAL(untouched.lanes, 3);
    }
}

static void what_others_call_a_dtype_is_told_its_name(void) {
    DLDataType untouched = dtype_of(1, 2, 3);
    CHECK_FAILS(dlb_dtype_parse("f4", &untouched), DLB_ERROR_INVALID_ARGUMENT, "\"f4\" names no dtype; write float32");
    CHECK_FAILS(dlb_dtype_parse("u4", &untouched), DLB_ERROR_INVALID_ARGUMENT, "write uint32");
    CHECK_FAILS(dlb_dtype_parse("double", &untouched), DLB_ERROR_INVALID_ARGUMENT, "write float64");
    CHECK_EQUAL(untouched.code, 1);
}

static void null_arguments(void) {
    DLDataType dtype;
    CHECK_FAILS(dlb_dtype_parse(NULL, &dtype), DLB_ERROR_INVALID_ARGUMENT, "name is NULL");
    CHECK_FAILS(dlb_dtype_parse("int8", NULL), DLB_ERROR_INVALID_ARGUMENT, "out is NULL");
    CHECK_EQUAL(dlb_dtype_name(dtype_of(INT, 8, 1), NULL, 32), 4);
}

RUN_TESTS(TEST(names_go_both_ways), TEST(what_has_no_name_is_spelled_out), TEST(every_dtype_can_be_named),
          TEST(a_name_is_cut_as_snprintf_cuts), TEST(what_is_no_dtype_is_refused),
          TEST(what_others_call_a_dtype_is_told_its_name), TEST(null_arguments))
