/* One camera's data stream: buffers, their queues, and the new-buffer event that hands them to the host. */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "simcam.h"

struct buffer *queue_pop(struct buffer_queue *queue) {
    struct buffer *buffer = queue->first;
    if (buffer) {
        queue->first = buffer->next;
        queue->length--;
        if (!queue->first)
            queue->last = NULL;
    }
    return buffer;
}

void queue_push(struct buffer_queue *queue, struct buffer *buffer, enum buffer_place place) {
    buffer->place = place;
    buffer->next = NULL;
    if (queue->last)
        queue->last->next = buffer;
    else
        queue->first = buffer;
    queue->last = buffer;
    queue->length++;
}

static void queue_discard(struct buffer_queue *queue) {
    for (struct buffer *buffer = queue_pop(queue); buffer; buffer = queue_pop(queue))
        buffer->place = WITH_HOST;
}

/* Afterwards, and for as long as the lock is held, the sensor writes into no buffer. */
void stream_wait_filled(struct camera *camera) {
    while (camera->filling)
        pthread_cond_wait(&camera->changed, &camera->lock);
}

GC_ERROR stream_open(struct camera *camera) {
    if (camera->streaming)
        return fail(GC_ERR_RESOURCE_IN_USE, "the stream of camera %s is open already", camera->serial);
    memset(camera->buffer, 0, sizeof camera->buffer);
    camera->input = camera->output = (struct buffer_queue){0};
    camera->filling = NULL;
    camera->sensor_stop = camera->grabbing = camera->event_registered = camera->event_killed = false;
    camera->frames_started = camera->frames_delivered = camera->frames_underrun = 0;
    if (pthread_create(&camera->sensor, NULL, sensor_run, camera))
        return fail(GC_ERR_RESOURCE_EXHAUSTED, "no thread for camera %s", camera->serial);
    camera->streaming = true;
    return GC_ERR_SUCCESS;
}

void stream_close(struct camera *camera) {
    if (!camera->streaming)
        return;
    pthread_mutex_lock(&camera->lock);
    camera->sensor_stop = true;
    camera->grabbing = false;
    sensor_wake(camera);
    pthread_mutex_unlock(&camera->lock);
    pthread_join(camera->sensor, NULL);
    for (int i = 0; i < BUFFERS_MAX; i++)
        if (camera->buffer[i].allocated)
            free(camera->buffer[i].base);
    unfreeze(camera);
    camera->streaming = false;
}

struct camera *lock_camera(HANDLE handle, enum module_kind kind) {
    struct camera *camera = find_camera(handle, kind);
    if (camera)
        pthread_mutex_lock(&camera->lock);
    return camera;
}

GC_ERROR unlock(struct camera *camera, GC_ERROR error) {
    pthread_mutex_unlock(&camera->lock);
    return error;
}

/* ---- acquisition ---- */

GC_API DSClose(HANDLE stream) {
    struct camera *camera = find_camera(stream, MODULE_STREAM);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    stream_close(camera);
    return GC_ERR_SUCCESS;
}

GC_API DSStartAcquisition(HANDLE stream, int32_t flags, uint64_t frames) {
    (void)flags;
    (void)frames; /* the host asks for all frames; AcquisitionMode limits them */
    struct camera *camera = lock_camera(stream, MODULE_STREAM);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    if (camera->grabbing)
        return unlock(camera, fail(GC_ERR_RESOURCE_IN_USE, "acquisition is started already"));
    camera->grabbing = true;
    camera->frames_started = camera->frames_delivered = camera->frames_underrun = 0;
    return unlock(camera, GC_ERR_SUCCESS);
}

GC_API DSStopAcquisition(HANDLE stream, int32_t flags) {
    (void)flags; /* a frame being filled takes milliseconds: the kill flag needs no haste */
    struct camera *camera = lock_camera(stream, MODULE_STREAM);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    if (!camera->grabbing)
        return unlock(camera, fail(GC_ERR_RESOURCE_IN_USE, "acquisition is not started"));
    camera->grabbing = false;
    stream_wait_filled(camera);
    return unlock(camera, GC_ERR_SUCCESS);
}

GC_API DSFlushQueue(HANDLE stream, int32_t operation) {
    struct camera *camera = lock_camera(stream, MODULE_STREAM);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    stream_wait_filled(camera);
    switch (operation) {
    case ACQ_QUEUE_OUTPUT_DISCARD: queue_discard(&camera->output); break;
    case ACQ_QUEUE_ALL_DISCARD:
        queue_discard(&camera->input);
        queue_discard(&camera->output);
        break;
    case ACQ_QUEUE_ALL_TO_INPUT:
        queue_discard(&camera->output);
        /* fall through */
    case ACQ_QUEUE_UNQUEUED_TO_INPUT:
        for (int i = 0; i < BUFFERS_MAX; i++)
            if (camera->buffer[i].announced && camera->buffer[i].place == WITH_HOST)
                queue_push(&camera->input, &camera->buffer[i], IN_INPUT);
        break;
    case ACQ_QUEUE_INPUT_TO_OUTPUT: {
        for (struct buffer *buffer = queue_pop(&camera->input); buffer; buffer = queue_pop(&camera->input)) {
            buffer->has_data = false;
            queue_push(&camera->output, buffer, IN_OUTPUT);
        }
        pthread_cond_broadcast(&camera->changed);
        break;
    }
    default: return unlock(camera, fail(GC_ERR_INVALID_PARAMETER, "no queue operation %d", operation));
    }
    return unlock(camera, GC_ERR_SUCCESS);
}

GC_API DSGetInfo(HANDLE stream, int32_t command, INFO_DATATYPE *type, void *value, size_t *size) {
    struct answer out = {type, value, size};
    struct camera *camera = lock_camera(stream, MODULE_STREAM);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    size_t announced = 0;
    for (int i = 0; i < BUFFERS_MAX; i++)
        announced += camera->buffer[i].announced;
    switch (command) {
    case STREAM_INFO_ID: return unlock(camera, give_string(out, camera->serial));
    case STREAM_INFO_TLTYPE: return unlock(camera, give_string(out, TL_TYPE));
    case STREAM_INFO_NUM_DELIVERED: return unlock(camera, give_u64(out, camera->frames_delivered));
    case STREAM_INFO_NUM_UNDERRUN: return unlock(camera, give_u64(out, camera->frames_underrun));
    case STREAM_INFO_NUM_STARTED: return unlock(camera, give_u64(out, camera->frames_started));
    case STREAM_INFO_NUM_ANNOUNCED: return unlock(camera, give_size(out, announced));
    case STREAM_INFO_NUM_QUEUED: return unlock(camera, give_size(out, camera->input.length));
    case STREAM_INFO_NUM_AWAIT_DELIVERY: return unlock(camera, give_size(out, camera->output.length));
    case STREAM_INFO_PAYLOAD_SIZE: return unlock(camera, give_size(out, payload_bytes(&camera->registers)));
    case STREAM_INFO_IS_GRABBING: return unlock(camera, give_bool(out, camera->grabbing));
    case STREAM_INFO_DEFINES_PAYLOADSIZE: return unlock(camera, give_bool(out, true));
    case STREAM_INFO_NUM_CHUNKS_MAX: return unlock(camera, give_size(out, CHUNKS));
    case STREAM_INFO_BUF_ANNOUNCE_MIN: return unlock(camera, give_size(out, 2));
    case STREAM_INFO_BUF_ALIGNMENT: return unlock(camera, give_size(out, 1));
    }
    return unlock(camera, fail(GC_ERR_NOT_IMPLEMENTED, "no stream information %d", command));
}

/* ---- the new-buffer event ---- */

GC_API GCRegisterEvent(HANDLE module, int32_t event, HANDLE *handle) {
    if (event != EVENT_NEW_BUFFER)
        return fail(GC_ERR_NOT_IMPLEMENTED, "the only event is EVENT_NEW_BUFFER");
    struct camera *camera = lock_camera(module, MODULE_STREAM);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    if (camera->event_registered)
        return unlock(camera, fail(GC_ERR_RESOURCE_IN_USE, "the event is registered already"));
    camera->event_registered = true;
    camera->event_killed = false;
    *handle = &camera->handle[MODULE_EVENT];
    return unlock(camera, GC_ERR_SUCCESS);
}

GC_API GCUnregisterEvent(HANDLE module, int32_t event) {
    if (event != EVENT_NEW_BUFFER)
        return fail(GC_ERR_NOT_IMPLEMENTED, "the only event is EVENT_NEW_BUFFER");
    struct camera *camera = lock_camera(module, MODULE_STREAM);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    camera->event_registered = false;
    return unlock(camera, GC_ERR_SUCCESS);
}

/* Waits for a filled buffer, the kill, the loss of the camera or the deadline, whichever is first. */
static GC_ERROR wait_for_buffer(struct camera *camera, uint64_t timeout_ms) {
    uint64_t now = now_ns();
    uint64_t deadline = timeout_ms > (NEVER - now) / 1000000u ? NEVER : now + timeout_ms * 1000000u;
    struct timespec until = {(time_t)(deadline / 1000000000u), (long)(deadline % 1000000000u)};
    while (!camera->event_killed && !camera->output.first) {
        if (!camera_alive(camera) && !camera->control->lost_silently)
            return fail(GC_ERR_IO, "camera %s is unplugged", camera->serial);
        if (deadline == NEVER)
            pthread_cond_wait(&camera->changed, &camera->lock);
        else if (now_ns() >= deadline)
            return fail(GC_ERR_TIMEOUT, "no buffer within %llu ms", (unsigned long long)timeout_ms);
        else
            pthread_cond_timedwait(&camera->changed, &camera->lock, &until);
    }
    if (!camera->event_killed)
        return GC_ERR_SUCCESS;
    camera->event_killed = false;
    return fail(GC_ERR_ABORT, "the wait was ended by EventKill");
}

GC_API EventGetData(HANDLE event, void *data, size_t *size, uint64_t timeout_ms) {
    if (*size < sizeof(EVENT_NEW_BUFFER_DATA))
        return fail(GC_ERR_BUFFER_TOO_SMALL, "an event takes %zu bytes", sizeof(EVENT_NEW_BUFFER_DATA));
    struct camera *camera = lock_camera(event, MODULE_EVENT);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    GC_ERROR error = wait_for_buffer(camera, timeout_ms);
    if (!error) {
        struct buffer *buffer = queue_pop(&camera->output);
        buffer->place = WITH_HOST;
        camera->frames_delivered++;
        EVENT_NEW_BUFFER_DATA fired = {buffer, buffer->user};
        memcpy(data, &fired, sizeof fired);
        *size = sizeof fired;
    }
    return unlock(camera, error);
}

GC_API EventGetDataInfo(HANDLE event, const void *data, size_t data_size, int32_t command, INFO_DATATYPE *type,
                        void *value, size_t *size) {
    struct answer out = {type, value, size};
    if (!find_camera(event, MODULE_EVENT))
        return GC_ERR_INVALID_HANDLE;
    if (data_size < sizeof(EVENT_NEW_BUFFER_DATA))
        return fail(GC_ERR_INVALID_PARAMETER, "an event takes %zu bytes", sizeof(EVENT_NEW_BUFFER_DATA));
    const EVENT_NEW_BUFFER_DATA *fired = data;
    switch (command) {
    case EVENT_DATA_ID: return give_pointer(out, fired->BufferHandle);
    case EVENT_DATA_VALUE: return give_pointer(out, fired->pUserPointer);
    }
    return fail(GC_ERR_NOT_AVAILABLE, "no event data information %d", command);
}

GC_API EventGetInfo(HANDLE event, int32_t command, INFO_DATATYPE *type, void *value, size_t *size) {
    struct answer out = {type, value, size};
    struct camera *camera = lock_camera(event, MODULE_EVENT);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    switch (command) {
    case EVENT_EVENT_TYPE: return unlock(camera, give_i32(out, EVENT_NEW_BUFFER));
    case EVENT_NUM_IN_QUEUE: return unlock(camera, give_size(out, camera->output.length));
    case EVENT_NUM_FIRED: return unlock(camera, give_u64(out, camera->frames_delivered));
    case EVENT_SIZE_MAX:
    case EVENT_INFO_DATA_SIZE_MAX: return unlock(camera, give_size(out, sizeof(EVENT_NEW_BUFFER_DATA)));
    }
    return unlock(camera, fail(GC_ERR_NOT_IMPLEMENTED, "no event information %d", command));
}

GC_API EventFlush(HANDLE event) {
    struct camera *camera = lock_camera(event, MODULE_EVENT);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    queue_discard(&camera->output);
    return unlock(camera, GC_ERR_SUCCESS);
}

GC_API EventKill(HANDLE event) {
    struct camera *camera = lock_camera(event, MODULE_EVENT);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    camera->event_killed = true;
    pthread_cond_broadcast(&camera->changed);
    return unlock(camera, GC_ERR_SUCCESS);
}
