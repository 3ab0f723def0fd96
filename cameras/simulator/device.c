/* One camera as a GenTL device: opening it, mapping its control file, losing it, closing it. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "simcam.h"

#define STREAM_ID "Stream0"

bool camera_alive(const struct camera *camera) {
    return camera->control->present && camera->control->plug_count == camera->plug_count;
}

static int open_file(const struct camera *camera, const char *name, int flags) {
    char path[600];
    snprintf(path, sizeof path, "%s/%s", camera->directory, name);
    return open(path, flags | O_RDWR | O_CLOEXEC);
}

static bool map_control(struct camera *camera) {
    struct stat status;
    if (fstat(camera->control_fd, &status) || status.st_size < CONTROL_BYTES)
        return false;
    camera->mapped_bytes = (size_t)status.st_size;
    camera->control = mmap(NULL, camera->mapped_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, camera->control_fd, 0);
    return camera->control != MAP_FAILED;
}

GC_ERROR camera_open(struct camera *camera) {
    if (camera->open)
        return fail(GC_ERR_RESOURCE_IN_USE, "camera %s is open in this process; close it first", camera->serial);
    camera->control_fd = open_file(camera, "control", 0);
    camera->wake_fd = open_file(camera, "wake", O_NONBLOCK);
    struct flock whole_file = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    GC_ERROR error = GC_ERR_SUCCESS;
    if (camera->control_fd < 0 || camera->wake_fd < 0)
        error = fail(GC_ERR_IO, "camera %s has lost its files in %s", camera->serial, camera->directory);
    else if (fcntl(camera->control_fd, F_OFD_SETLK, &whole_file))
        error = fail(GC_ERR_RESOURCE_IN_USE, "camera %s is open in another process", camera->serial);
    else if (!map_control(camera))
        error = fail(GC_ERR_IO, "the control file of camera %s cannot be mapped", camera->serial);
    if (error) {
        close(camera->control_fd);
        close(camera->wake_fd);
        return error;
    }
    struct control *control = camera->control;
    camera->plug_count = control->plug_count;
    /* What an earlier owner left behind: edges that nobody took, and exposures that died with it. */
    control->edge_tail = control->edge_head;
    control->acquiring = 0;
    control->user_output = 0;
    control->stalled = 0;
    for (int slot = 0; slot < SCENE_SLOTS; slot++)
        control->scene_holds[slot] = 0;
    registers_reset(camera);
    output_reset(camera);
    camera->exposures = 0;
    camera->streaming = false;
    camera->open = true;
    return GC_ERR_SUCCESS;
}

void camera_close(struct camera *camera) {
    if (!camera->open)
        return;
    stream_close(camera);
    camera->control->acquiring = 0;
    camera->open = false;
    munmap(camera->control, camera->mapped_bytes);
    close(camera->control_fd);
    close(camera->wake_fd);
}

/* True if another open file holds the lock that camera_open takes. */
static bool is_open_elsewhere(const struct camera *camera) {
    int fd = open_file(camera, "control", 0);
    if (fd < 0)
        return false;
    struct flock whole_file = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    bool locked = fcntl(fd, F_OFD_GETLK, &whole_file) == 0 && whole_file.l_type != F_UNLCK;
    close(fd);
    return locked;
}

static int32_t access_status(const struct camera *camera) {
    if (camera->open)
        return camera_alive(camera) ? DEVICE_ACCESS_STATUS_OPEN_READWRITE : DEVICE_ACCESS_STATUS_NOACCESS;
    return is_open_elsewhere(camera) ? DEVICE_ACCESS_STATUS_BUSY : DEVICE_ACCESS_STATUS_READWRITE;
}

GC_ERROR device_info(const struct camera *camera, int32_t command, struct answer out) {
    switch (command) {
    case DEVICE_INFO_ID:
    case DEVICE_INFO_DISPLAYNAME:
    case DEVICE_INFO_SERIAL_NUMBER: return give_string(out, camera->serial);
    case DEVICE_INFO_VENDOR: return give_string(out, VENDOR);
    case DEVICE_INFO_MODEL: return give_string(out, MODEL);
    case DEVICE_INFO_VERSION: return give_string(out, VERSION);
    case DEVICE_INFO_TLTYPE: return give_string(out, TL_TYPE);
    case DEVICE_INFO_USER_DEFINED_NAME: return give_string(out, "");
    case DEVICE_INFO_ACCESS_STATUS: return give_i32(out, access_status(camera));
    case DEVICE_INFO_TIMESTAMP_FREQUENCY: return give_u64(out, 1000000000u);
    }
    return fail(GC_ERR_NOT_IMPLEMENTED, "no device information %d", command);
}

GC_API DevClose(HANDLE device) {
    struct camera *camera = find_camera(device, MODULE_DEVICE);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    camera_close(camera);
    return GC_ERR_SUCCESS;
}

GC_API DevGetInfo(HANDLE device, int32_t command, INFO_DATATYPE *type, void *buffer, size_t *size) {
    const struct camera *camera = find_camera(device, MODULE_DEVICE);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    return device_info(camera, command, (struct answer){type, buffer, size});
}

GC_API DevGetPort(HANDLE device, HANDLE *port) {
    struct camera *camera = find_camera(device, MODULE_DEVICE);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    *port = &camera->handle[MODULE_PORT];
    return GC_ERR_SUCCESS;
}

GC_API DevGetNumDataStreams(HANDLE device, uint32_t *count) {
    *count = 1;
    return find_camera(device, MODULE_DEVICE) ? GC_ERR_SUCCESS : GC_ERR_INVALID_HANDLE;
}

GC_API DevGetDataStreamID(HANDLE device, uint32_t index, char *id, size_t *size) {
    if (!find_camera(device, MODULE_DEVICE))
        return GC_ERR_INVALID_HANDLE;
    if (index != 0)
        return fail(GC_ERR_INVALID_INDEX, "a camera has one stream");
    return give_string((struct answer){NULL, id, size}, STREAM_ID);
}

GC_API DevOpenDataStream(HANDLE device, const char *id, HANDLE *stream) {
    struct camera *camera = find_camera(device, MODULE_DEVICE);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    if (!id || strcmp(id, STREAM_ID) != 0)
        return fail(GC_ERR_INVALID_ID, "the stream is named %s", STREAM_ID);
    GC_ERROR error = stream_open(camera);
    if (!error)
        *stream = &camera->handle[MODULE_STREAM];
    return error;
}

GC_API DSGetParentDev(HANDLE stream, HANDLE *device) {
    struct camera *camera = find_camera(stream, MODULE_STREAM);
    if (!camera)
        return GC_ERR_INVALID_HANDLE;
    *device = &camera->handle[MODULE_DEVICE];
    return GC_ERR_SUCCESS;
}
