#pragma once

/*
 * Media on their way in: a job's descriptors are read into memory that nobody else can change, one
 * after the other, and decoded by the media helper, which serves the uids in turn. Then the job is
 * ready for the worker. The loop's thread only.
 */

#include <systemd/sd-event.h>

#include "daemon/job.h"

typedef struct Intake Intake;

typedef struct IntakeEvents {
    /* All media are decoded, or j->failure says why the job is over; the job is given back. */
    void (*done)(void *userdata, Job *j);
    void *userdata;
} IntakeEvents;

/* helper: path of percept-media. */
int intake_new(sd_event *event, const char *helper, const IntakeEvents *events,
               Intake **ret_intake);
Intake *intake_free(Intake *in);
DEFINE_CLEANUP(Intake *, intake_free);

/* Takes a job with media until done(), which may come before this returns. */
void intake_add(Intake *in, Job *j);
/* Takes it out again, without done(). */
void intake_remove(Intake *in, Job *j);
unsigned intake_length(const Intake *in);
