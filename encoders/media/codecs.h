#pragma once

/* One function a format, and the choice between them. Private to this folder. */

#include "encoders/media/input.h"
#include "encoders/media/output.h"
#include "encoders/media/picture.h"

/* Fill the picture, its orientation and source size; picture_deinit() in any case. */
Reason jpeg_decode(const Input *in, const MediaRequest *request, Picture *ret_picture);
Reason png_decode(const Input *in, Picture *ret_picture);
Reason webp_decode(const Input *in, Picture *ret_picture);

/* Writes mono samples to the output. The input may be changed. */
Reason sound_decode(Input *in, const MediaRequest *request, Output *out);

/* By the first bytes. */
Reason media_decode_input(Input *in, const MediaRequest *request, Output *out);
