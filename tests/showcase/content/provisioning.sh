#!/bin/bash -e
echo "Installing requirements"
for percent in 10 35 60 85 100; do printf '\rdownloading ffmpeg %3d%%' $percent; done; echo
printf '\e[32mInstalled\e[0m ffmpeg 7.1, numpy 2.3, pillow 12.0\n'
printf '\e[33mWARNING\e[0m: retrying models.example.com (1 of 3)\n'
echo "Everything is in place"
