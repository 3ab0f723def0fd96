/* Buffers of a data stream: announcing, queueing, asking for what they hold, revoking. */
#include <stdlib.h>
#include <string.h>

#include "simcam.h"

static struct buffer *find_buffer(struct camera *camera, HANDLE handle) {
    for (int i = 0; i < BUFFERS_MAX; i++)
        if (handle == &camera->buffer[i] && camera->buffer[i].announced)
            return &camera->buffer[i];
    fail(GC_ERR_INVALID_BUFFER, "not a buffer of camera %s", camera->serial);
    return NULL;
}

static GC_ERROR announce(HANDLE stream, void *base, size_t size, void *user, bool allocated, HANDLE *handle) {
    struct camera *camera = lock_camera(stream, MODULE_STREAM);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    for (int i = 0; i < BUFFERS_MAX; i++) {
        struct buffer *buffer = &camera->buffer[i];
        if (!buffer->announced) {
            *buffer = (struct buffer){.announced = true, .allocated = allocated, .base = base, .size = size, .user = user};
            *handle = buffer;
            return unlock(camera, GC_ERR_SUCCESS);
        }
    }
    return unlock(camera, fail(GC_ERR_RESOURCE_EXHAUSTED, "a stream takes up to %d buffers", BUFFERS_MAX));
}

GC_API DSAnnounceBuffer(HANDLE stream, void *base, size_t size, void *user, HANDLE *handle) {
    return announce(stream, base, size, user, false, handle);
}

GC_API DSAllocAndAnnounceBuffer(HANDLE stream, size_t size, void *user, HANDLE *handle) {
    void *base = calloc(1, size);
    if (!base)
        return fail(GC_ERR_OUT_OF_MEMORY, "no memory for a buffer of %zu bytes", size);
    GC_ERROR error = announce(stream, base, size, user, true, handle);
    if (error)
        free(base);
    return error;
}

GC_API DSQueueBuffer(HANDLE stream, HANDLE handle) {
    struct camera *camera = lock_camera(stream, MODULE_STREAM);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    struct buffer *buffer = find_buffer(camera, handle);
    if (!buffer)
        return unlock(camera, GC_ERR_INVALID_BUFFER);
    if (buffer->place != WITH_HOST)
        return unlock(camera, fail(GC_ERR_RESOURCE_IN_USE, "the buffer is queued already"));
    queue_push(&camera->input, buffer, IN_INPUT);
    return unlock(camera, GC_ERR_SUCCESS);
}

GC_API DSRevokeBuffer(HANDLE stream, HANDLE handle, void **base, void **user) {
    struct camera *camera = lock_camera(stream, MODULE_STREAM);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    struct buffer *buffer = find_buffer(camera, handle);
    if (!buffer)
        return unlock(camera, GC_ERR_INVALID_BUFFER);
    if (camera->grabbing || buffer->place != WITH_HOST)
        return unlock(camera, fail(GC_ERR_BUSY, "stop the acquisition and flush the queues first"));
    if (base)
        *base = buffer->allocated ? NULL : buffer->base;
    if (user)
        *user = buffer->user;
    if (buffer->allocated)
        free(buffer->base);
    *buffer = (struct buffer){0};
    return unlock(camera, GC_ERR_SUCCESS);
}

GC_API DSGetBufferID(HANDLE stream, uint32_t index, HANDLE *handle) {
    struct camera *camera = lock_camera(stream, MODULE_STREAM);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    for (int i = 0; i < BUFFERS_MAX; i++)
        if (camera->buffer[i].announced && index-- == 0) {
            *handle = &camera->buffer[i];
            return unlock(camera, GC_ERR_SUCCESS);
        }
    return unlock(camera, fail(GC_ERR_INVALID_INDEX, "fewer buffers are announced"));
}

static GC_ERROR buffer_info(const struct buffer *buffer, int32_t command, struct answer out) {
    switch (command) {
    case BUFFER_INFO_BASE: return give_pointer(out, buffer->base);
    case BUFFER_INFO_SIZE: return give_size(out, buffer->size);
    case BUFFER_INFO_USER_PTR: return give_pointer(out, buffer->user);
    case BUFFER_INFO_TIMESTAMP:
    case BUFFER_INFO_TIMESTAMP_NS: return give_u64(out, buffer->timestamp_ns);
    case BUFFER_INFO_NEW_DATA:
    case BUFFER_INFO_IMAGEPRESENT: return give_bool(out, buffer->has_data);
    case BUFFER_INFO_IS_QUEUED: return give_bool(out, buffer->place == IN_INPUT || buffer->place == BEING_FILLED);
    case BUFFER_INFO_IS_ACQUIRING: return give_bool(out, buffer->place == BEING_FILLED);
    case BUFFER_INFO_IS_INCOMPLETE: return give_bool(out, buffer->incomplete);
    case BUFFER_INFO_TLTYPE: return give_string(out, TL_TYPE);
    case BUFFER_INFO_SIZE_FILLED:
    case BUFFER_INFO_DATA_SIZE: return give_size(out, buffer->filled);
    case BUFFER_INFO_WIDTH: return give_size(out, buffer->width);
    case BUFFER_INFO_HEIGHT:
    case BUFFER_INFO_DELIVERED_IMAGEHEIGHT: return give_size(out, buffer->height);
    case BUFFER_INFO_XOFFSET: return give_size(out, buffer->offset_x);
    case BUFFER_INFO_YOFFSET: return give_size(out, buffer->offset_y);
    case BUFFER_INFO_XPADDING:
    case BUFFER_INFO_YPADDING:
    case BUFFER_INFO_IMAGEOFFSET: return give_size(out, 0);
    case BUFFER_INFO_FRAMEID: return give_u64(out, buffer->frame_id);
    case BUFFER_INFO_PAYLOADTYPE: return give_size(out, PAYLOAD_TYPE_IMAGE);
    case BUFFER_INFO_PIXELFORMAT: return give_u64(out, buffer->pixel_format);
    case BUFFER_INFO_PIXELFORMAT_NAMESPACE: return give_u64(out, PIXELFORMAT_NAMESPACE_PFNC_32BIT);
    case BUFFER_INFO_PIXEL_ENDIANNESS: return give_i32(out, PIXELENDIANNESS_LITTLE);
    case BUFFER_INFO_DELIVERED_CHUNKPAYLOADSIZE: return give_size(out, buffer->chunks * CHUNK_BYTES);
    case BUFFER_INFO_CHUNKLAYOUTID: return give_u64(out, buffer->chunks);
    case BUFFER_INFO_DATA_LARGER_THAN_BUFFER: return give_bool(out, false);
    case BUFFER_INFO_CONTAINS_CHUNKDATA: return give_bool(out, buffer->chunks > 0);
    }
    return fail(GC_ERR_NOT_AVAILABLE, "no buffer information %d", command);
}

GC_API DSGetBufferInfo(HANDLE stream, HANDLE handle, int32_t command, INFO_DATATYPE *type, void *value,
                       size_t *size) {
    struct camera *camera = lock_camera(stream, MODULE_STREAM);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    const struct buffer *buffer = find_buffer(camera, handle);
    if (!buffer)
        return unlock(camera, GC_ERR_INVALID_BUFFER);
    return unlock(camera, buffer_info(buffer, command, (struct answer){type, value, size}));
}

GC_API DSGetBufferChunkData(HANDLE stream, HANDLE handle, SINGLE_CHUNK_DATA *chunks, size_t *count) {
    struct camera *camera = lock_camera(stream, MODULE_STREAM);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    const struct buffer *buffer = find_buffer(camera, handle);
    if (!buffer)
        return unlock(camera, GC_ERR_INVALID_BUFFER);
    if (chunks && *count < buffer->chunks)
        return unlock(camera, fail(GC_ERR_BUFFER_TOO_SMALL, "the buffer has %zu chunks", buffer->chunks));
    if (chunks)
        memcpy(chunks, buffer->chunk, buffer->chunks * sizeof *chunks);
    *count = buffer->chunks;
    return unlock(camera, GC_ERR_SUCCESS);
}

/* ---- calls of later versions of the standard, which genicam looks for: buffers here hold one image each ---- */

GC_API DSGetNumBufferParts(void) {
    return fail(GC_ERR_NOT_IMPLEMENTED, "buffers have no parts");
}

GC_API DSGetBufferPartInfo(void) {
    return fail(GC_ERR_NOT_IMPLEMENTED, "buffers have no parts");
}

GC_API DSAnnounceCompositeBuffer(void) {
    return fail(GC_ERR_NOT_IMPLEMENTED, "buffers have no segments");
}

GC_API DSGetNumBufferSegments(void) {
    return fail(GC_ERR_NOT_IMPLEMENTED, "buffers have no segments");
}

GC_API DSGetBufferSegmentInfo(void) {
    return fail(GC_ERR_NOT_IMPLEMENTED, "buffers have no segments");
}

GC_API DSGetNumFlows(void) {
    return fail(GC_ERR_NOT_IMPLEMENTED, "streams have no flows");
}

GC_API DSGetFlowInfo(void) {
    return fail(GC_ERR_NOT_IMPLEMENTED, "streams have no flows");
}
