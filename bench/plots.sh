#!/bin/sh
# SPDX-License-Identifier: MIT
# Draws bench/plots/*.svg from bench/plots/*.dat with gnuplot (package gnuplot-nox).
#   bench/plots.sh [DIRECTORY]
# The data come from congestion_figures: build/release/bench/congestion_figures bench/plots
set -eu
directory=${1:-$(dirname "$0")/plots}
command -v gnuplot >/dev/null || { echo "plots.sh: gnuplot is missing: apt install gnuplot-nox" >&2; exit 1; }

for data in "$directory"/*.dat; do
  [ -e "$data" ] || { echo "plots.sh: no data in $directory: run congestion_figures first" >&2; exit 1; }
  title=$(sed -n '1s/^# //p' "$data")
  case ${data##*/} in
    loss.dat | late_hosts.dat) axes='' ;;
    black_hole.dat) axes='set logscale xy 10' ;;
    tail.dat) axes='set logscale y 10' ;;
    *) axes='set logscale x 2' ;;
  esac
  case $title in
    *'goodput'* | *'Jain'*) axes="$axes; set yrange [0:1.05]" ;;
  esac
  gnuplot <<END
set terminal svg size 480,320 font "sans,11" noenhanced background "white"
set output "${data%.dat}.svg"
set xlabel "${title%% | *}"
set ylabel "${title##* | }"
set key outside top horizontal
set grid lc rgb "#dddddd"
$axes
plot for [i=2:4] "$data" using 1:i with linespoints lw 2 pt 7 ps 0.5 title word("swift cubic fixed", i - 1)
END
done
