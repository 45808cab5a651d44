#pragma once

/* The one thing wanted of EXIF: how the picture is to be turned. Private to this folder. */

#include <stddef.h>
#include <stdint.h>

/* data: a TIFF header and what follows, as in the EXIF chunk of WebP and PNG, or behind "Exif\0\0"
 * in JPEG. 1 … 8; 1 (as stored) when it says nothing sound. EXIF 2.3, section 4.5. */
uint32_t exif_orientation(const uint8_t *data, size_t size);
