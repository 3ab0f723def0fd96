/* Answers to the Get...Info queries: type, value and size, with the size query (no buffer) that GenTL prescribes. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "simcam.h"

static _Thread_local GC_ERROR last_error = GC_ERR_SUCCESS;
static _Thread_local char last_text[256] = "no error";

GC_ERROR fail(GC_ERROR code, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(last_text, sizeof last_text, format, arguments);
    va_end(arguments);
    last_error = code;
    return code;
}

static GC_ERROR give(struct answer out, INFO_DATATYPE type, const void *value, size_t size) {
    if (out.type)
        *out.type = type;
    if (!out.size)
        return fail(GC_ERR_INVALID_PARAMETER, "no pointer to the size was given");
    size_t room = *out.size;
    *out.size = size;
    if (!out.buffer)
        return GC_ERR_SUCCESS;
    if (room < size)
        return fail(GC_ERR_BUFFER_TOO_SMALL, "%zu bytes given, %zu needed", room, size);
    memcpy(out.buffer, value, size);
    return GC_ERR_SUCCESS;
}

GC_ERROR give_string(struct answer out, const char *text) {
    return give(out, INFO_DATATYPE_STRING, text, strlen(text) + 1);
}

GC_ERROR give_i32(struct answer out, int32_t value) {
    return give(out, INFO_DATATYPE_INT32, &value, sizeof value);
}

GC_ERROR give_u32(struct answer out, uint32_t value) {
    return give(out, INFO_DATATYPE_UINT32, &value, sizeof value);
}

GC_ERROR give_u64(struct answer out, uint64_t value) {
    return give(out, INFO_DATATYPE_UINT64, &value, sizeof value);
}

GC_ERROR give_size(struct answer out, size_t value) {
    return give(out, INFO_DATATYPE_SIZET, &value, sizeof value);
}

GC_ERROR give_bool(struct answer out, bool value) {
    bool8_t byte = value;
    return give(out, INFO_DATATYPE_BOOL8, &byte, sizeof byte);
}

GC_ERROR give_pointer(struct answer out, void *value) {
    return give(out, INFO_DATATYPE_PTR, &value, sizeof value);
}

GC_API GCGetLastError(GC_ERROR *code, char *text, size_t *size) {
    if (!code)
        return GC_ERR_INVALID_PARAMETER;
    *code = last_error;
    return give_string((struct answer){NULL, text, size}, last_text);
}
