/* Library, system, interface: which cameras there are. The directories below $STATION_SIMULATOR are the cameras. */
#define _GNU_SOURCE
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "simcam.h"

#define INTERFACE_ID "Simulator"

static bool initialized;
static char system_handle, interface_handle;
static struct camera *cameras; /* every camera seen since GCInitLib; `listed` tells which are there now */
static pthread_mutex_t cameras_lock = PTHREAD_MUTEX_INITIALIZER;

uint64_t now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

const char *system_module(HANDLE handle) {
    if (handle == &system_handle)
        return "TLSystem";
    return handle == &interface_handle ? "TLInterface" : NULL;
}

/* The camera that this handle belongs to; compares addresses only, so that a stale handle is refused and not followed. */
struct camera *find_camera(HANDLE handle, enum module_kind kind) {
    pthread_mutex_lock(&cameras_lock);
    struct camera *camera = cameras;
    while (camera && handle != &camera->handle[kind])
        camera = camera->next;
    pthread_mutex_unlock(&cameras_lock);
    if (camera && camera->open && (kind == MODULE_DEVICE || kind == MODULE_PORT || camera->streaming))
        return camera;
    fail(GC_ERR_INVALID_HANDLE, "this handle is not open");
    return NULL;
}

/* ---- library ---- */

GC_API GCInitLib(void) {
    if (initialized)
        return fail(GC_ERR_RESOURCE_IN_USE, "the producer is initialised already");
    initialized = true;
    return GC_ERR_SUCCESS;
}

GC_API GCCloseLib(void) {
    if (!initialized)
        return fail(GC_ERR_NOT_INITIALIZED, "the producer is not initialised");
    initialized = false;
    while (cameras) {
        struct camera *camera = cameras;
        camera_close(camera);
        cameras = camera->next;
        pthread_cond_destroy(&camera->changed);
        pthread_mutex_destroy(&camera->lock);
        free(camera);
    }
    return GC_ERR_SUCCESS;
}

GC_API GCGetInfo(int32_t command, INFO_DATATYPE *type, void *buffer, size_t *size) {
    struct answer out = {type, buffer, size};
    switch (command) {
    case TL_INFO_ID:
    case TL_INFO_MODEL: return give_string(out, MODEL);
    case TL_INFO_VENDOR: return give_string(out, VENDOR);
    case TL_INFO_VERSION: return give_string(out, VERSION);
    case TL_INFO_TLTYPE: return give_string(out, TL_TYPE);
    case TL_INFO_NAME:
    case TL_INFO_PATHNAME: return give_string(out, "simcam.cti");
    case TL_INFO_DISPLAYNAME: return give_string(out, "Simulated cameras");
    case TL_INFO_CHAR_ENCODING: return give_i32(out, TL_CHAR_ENCODING_UTF8);
    case TL_INFO_GENTL_VER_MAJOR: return give_u32(out, 1);
    case TL_INFO_GENTL_VER_MINOR: return give_u32(out, 5);
    }
    return fail(GC_ERR_NOT_IMPLEMENTED, "no system information %d", command);
}

/* ---- system ---- */

GC_API TLOpen(HANDLE *system) {
    if (!initialized)
        return fail(GC_ERR_NOT_INITIALIZED, "call GCInitLib first");
    *system = &system_handle;
    return GC_ERR_SUCCESS;
}

static bool is_system(HANDLE handle) {
    if (handle == &system_handle)
        return true;
    fail(GC_ERR_INVALID_HANDLE, "not the handle of the system");
    return false;
}

GC_API TLClose(HANDLE system) {
    return is_system(system) ? GC_ERR_SUCCESS : GC_ERR_INVALID_HANDLE;
}

GC_API TLGetInfo(HANDLE system, int32_t command, INFO_DATATYPE *type, void *buffer, size_t *size) {
    return is_system(system) ? GCGetInfo(command, type, buffer, size) : GC_ERR_INVALID_HANDLE;
}

GC_API TLUpdateInterfaceList(HANDLE system, bool8_t *changed, uint64_t timeout_ms) {
    (void)timeout_ms;
    if (changed)
        *changed = 0;
    return is_system(system) ? GC_ERR_SUCCESS : GC_ERR_INVALID_HANDLE;
}

GC_API TLGetNumInterfaces(HANDLE system, uint32_t *count) {
    *count = 1;
    return is_system(system) ? GC_ERR_SUCCESS : GC_ERR_INVALID_HANDLE;
}

GC_API TLGetInterfaceID(HANDLE system, uint32_t index, char *id, size_t *size) {
    if (!is_system(system))
        return GC_ERR_INVALID_HANDLE;
    if (index != 0)
        return fail(GC_ERR_INVALID_INDEX, "there is one interface");
    return give_string((struct answer){NULL, id, size}, INTERFACE_ID);
}

static GC_ERROR interface_info(int32_t command, struct answer out) {
    switch (command) {
    case INTERFACE_INFO_ID:
    case INTERFACE_INFO_DISPLAYNAME: return give_string(out, INTERFACE_ID);
    case INTERFACE_INFO_TLTYPE: return give_string(out, TL_TYPE);
    }
    return fail(GC_ERR_NOT_IMPLEMENTED, "no interface information %d", command);
}

GC_API TLGetInterfaceInfo(HANDLE system, const char *id, int32_t command, INFO_DATATYPE *type, void *buffer,
                          size_t *size) {
    if (!is_system(system))
        return GC_ERR_INVALID_HANDLE;
    if (!id || strcmp(id, INTERFACE_ID) != 0)
        return fail(GC_ERR_INVALID_ID, "the interface is named %s", INTERFACE_ID);
    return interface_info(command, (struct answer){type, buffer, size});
}

GC_API TLOpenInterface(HANDLE system, const char *id, HANDLE *interface) {
    if (!is_system(system))
        return GC_ERR_INVALID_HANDLE;
    if (!id || strcmp(id, INTERFACE_ID) != 0)
        return fail(GC_ERR_INVALID_ID, "the interface is named %s", INTERFACE_ID);
    *interface = &interface_handle;
    return GC_ERR_SUCCESS;
}

/* ---- interface ---- */

static bool is_interface(HANDLE handle) {
    if (handle == &interface_handle)
        return true;
    fail(GC_ERR_INVALID_HANDLE, "not the handle of the interface");
    return false;
}

GC_API IFClose(HANDLE interface) {
    return is_interface(interface) ? GC_ERR_SUCCESS : GC_ERR_INVALID_HANDLE;
}

GC_API IFGetInfo(HANDLE interface, int32_t command, INFO_DATATYPE *type, void *buffer, size_t *size) {
    if (!is_interface(interface))
        return GC_ERR_INVALID_HANDLE;
    return interface_info(command, (struct answer){type, buffer, size});
}

GC_API IFGetParentTL(HANDLE interface, HANDLE *system) {
    *system = &system_handle;
    return is_interface(interface) ? GC_ERR_SUCCESS : GC_ERR_INVALID_HANDLE;
}

/* True if the directory holds the control file of a camera that is plugged in. */
static bool is_present(const char *directory) {
    char path[600];
    struct control control;
    snprintf(path, sizeof path, "%s/control", directory);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    bool whole = read(fd, &control, sizeof control) == sizeof control;
    close(fd);
    return whole && control.magic == CONTROL_MAGIC && control.present;
}

static struct camera *camera_in(const char *directory, const char *serial) {
    struct camera *camera = cameras;
    while (camera && strcmp(camera->directory, directory) != 0)
        camera = camera->next;
    if (!camera && (camera = calloc(1, sizeof *camera))) {
        snprintf(camera->serial, sizeof camera->serial, "%s", serial);
        snprintf(camera->directory, sizeof camera->directory, "%s", directory);
        pthread_condattr_t monotonic;
        pthread_condattr_init(&monotonic);
        pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
        pthread_cond_init(&camera->changed, &monotonic);
        pthread_condattr_destroy(&monotonic);
        pthread_mutex_init(&camera->lock, NULL);
        struct camera **end = &cameras;
        while (*end)
            end = &(*end)->next;
        *end = camera;
    }
    return camera;
}

GC_API IFUpdateDeviceList(HANDLE interface, bool8_t *changed, uint64_t timeout_ms) {
    (void)timeout_ms;
    if (!is_interface(interface))
        return GC_ERR_INVALID_HANDLE;
    if (changed)
        *changed = 1;
    const char *root = getenv("STATION_SIMULATOR");
    struct dirent **entry;
    int entries = root ? scandir(root, &entry, NULL, alphasort) : -1;
    pthread_mutex_lock(&cameras_lock);
    for (struct camera *camera = cameras; camera; camera = camera->next)
        camera->listed = false;
    for (int i = 0; i < entries; i++) {
        char directory[512];
        int length = snprintf(directory, sizeof directory, "%s/%s", root, entry[i]->d_name);
        bool fits = length < (int)sizeof directory && strlen(entry[i]->d_name) < sizeof cameras->serial;
        if (fits && is_present(directory)) {
            struct camera *camera = camera_in(directory, entry[i]->d_name);
            if (camera)
                camera->listed = true;
        }
        free(entry[i]);
    }
    pthread_mutex_unlock(&cameras_lock);
    if (entries >= 0)
        free(entry);
    return GC_ERR_SUCCESS;
}

GC_API IFGetNumDevices(HANDLE interface, uint32_t *count) {
    if (!is_interface(interface))
        return GC_ERR_INVALID_HANDLE;
    *count = 0;
    for (struct camera *camera = cameras; camera; camera = camera->next)
        *count += camera->listed;
    return GC_ERR_SUCCESS;
}

GC_API IFGetDeviceID(HANDLE interface, uint32_t index, char *id, size_t *size) {
    if (!is_interface(interface))
        return GC_ERR_INVALID_HANDLE;
    for (struct camera *camera = cameras; camera; camera = camera->next)
        if (camera->listed && index-- == 0)
            return give_string((struct answer){NULL, id, size}, camera->serial);
    return fail(GC_ERR_INVALID_INDEX, "there are fewer cameras; call IFUpdateDeviceList first");
}

static struct camera *listed_camera(const char *id) {
    for (struct camera *camera = cameras; camera; camera = camera->next)
        if (id && camera->listed && strcmp(camera->serial, id) == 0)
            return camera;
    fail(GC_ERR_INVALID_ID, "no camera %s is listed; call IFUpdateDeviceList first", id ? id : "(null)");
    return NULL;
}

GC_API IFGetDeviceInfo(HANDLE interface, const char *id, int32_t command, INFO_DATATYPE *type, void *buffer,
                       size_t *size) {
    if (!is_interface(interface))
        return GC_ERR_INVALID_HANDLE;
    const struct camera *camera = listed_camera(id);
    if (!camera)
        return GC_ERR_INVALID_ID;
    return device_info(camera, command, (struct answer){type, buffer, size});
}

GC_API IFOpenDevice(HANDLE interface, const char *id, int32_t access_flags, HANDLE *device) {
    (void)access_flags; /* every way of opening is exclusive here */
    if (!is_interface(interface))
        return GC_ERR_INVALID_HANDLE;
    struct camera *camera = listed_camera(id);
    if (!camera)
        return GC_ERR_INVALID_ID;
    GC_ERROR error = camera_open(camera);
    if (!error)
        *device = &camera->handle[MODULE_DEVICE];
    return error;
}

GC_API DevGetParentIF(HANDLE device, HANDLE *interface) {
    if (!find_camera(device, MODULE_DEVICE))
        return GC_ERR_INVALID_HANDLE;
    *interface = &interface_handle;
    return GC_ERR_SUCCESS;
}
